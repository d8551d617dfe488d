"""Which devices workers are started for, and which of them a job may use, without importing torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from cryobridge.schemas.errors import InputInvalid, JobRejected

from ..gpus import Gpu, ListGpus, nvidia_gpus


def worker_devices(
    wanted: Literal["auto"] | Sequence[str],
    environment: Mapping[str, str] = os.environ,
    list_gpus: ListGpus = nvidia_gpus,
) -> list[str]:
    """The devices to start workers for, as the worker's `--device`.

    Parameters
    ----------
    wanted
        "auto": all GPUs that `CUDA_VISIBLE_DEVICES` leaves, else the CPU. Or a list of `cpu`, `cuda`, `cuda:N`
        (N as CUDA would count here), `cuda:GPU-...`.

    Raises
    ------
    InputInvalid
        If a wanted device does not exist.
    """
    if wanted != "auto" and all(device == "cpu" for device in wanted):
        return ["cpu"]
    gpus = visible(list_gpus(), environment.get("CUDA_VISIBLE_DEVICES"))
    if wanted == "auto":
        return [f"cuda:{gpu.uuid}" for gpu in gpus] or ["cpu"]
    chosen: list[str] = []
    for device in wanted:
        name = device if device == "cpu" else _resolve(device, gpus)
        if name not in chosen:
            chosen.append(name)
    return chosen


def visible(gpus: Sequence[Gpu], variable: str | None) -> list[Gpu]:
    """What `CUDA_VISIBLE_DEVICES` leaves, in its order; as CUDA does, it ends at the first entry that is no GPU."""
    if variable is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for word in (part.strip() for part in variable.split(",")):
        found = [gpu for gpu in gpus if word and (word == str(gpu.index) or gpu.uuid.startswith(word))]
        if len(found) != 1 or found[0] in chosen:
            break
        chosen += found
    return chosen


def task_devices(wanted: str, present: Sequence[str]) -> frozenset[str] | None:
    """Which of the workers' devices a job's `run.devices` allows; None for any.

    Parameters
    ----------
    wanted
        "auto", "cpu", "gpu", or numbers (in the order of the workers' GPUs) or UUIDs, with commas or colons.
    present
        The devices that there are workers for.

    Raises
    ------
    JobRejected
        If there is no worker for any of them.
    """
    if wanted == "auto":
        return None
    gpus = [device for device in present if device.startswith("cuda")]
    if wanted in ("cpu", "gpu"):
        chosen = [device for device in present if device == "cpu"] if wanted == "cpu" else gpus
    else:
        words = wanted.replace(":", ",").split(",")
        chosen = [gpu for index, gpu in enumerate(gpus) if str(index) in words or gpu.removeprefix("cuda:") in words]
    if not chosen:
        raise JobRejected(f"devices: {wanted}: the daemon has workers for {', '.join(present)} only; try 'auto'")
    return frozenset(chosen)


def _resolve(device: str, gpus: Sequence[Gpu]) -> str:
    word = device.removeprefix("cuda").removeprefix(":") or "0"
    for position, gpu in enumerate(gpus):
        if word in (str(position), gpu.uuid):
            return f"cuda:{gpu.uuid}"
    there = ", ".join(f"cuda:{position} ({gpu.name})" for position, gpu in enumerate(gpus)) or "no GPU"
    raise InputInvalid(f"devices: there is no {device} here; there is: cpu, {there}")
