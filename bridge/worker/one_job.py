"""What a process that does a single job does before it: find the device, load torch, and load no more than that."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryobridge.schemas.errors import CryobridgeError

if TYPE_CHECKING:
    import torch

    from cryobridge.schemas.envelope import Job


@contextmanager
def no_collections() -> Iterator[None]:
    """Load modules without looking for garbage among them, a tenth of the time that torch takes; they stay anyway."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def show_only(devices: str) -> None:
    """Let torch, which must not have been loaded yet, count only the GPUs of a job's `run.devices`."""
    chosen = devices.replace(":", ",")
    if chosen not in ("auto", "cpu", "gpu"):
        # Numbers and UUIDs alike.
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen


def device_of(job: Job, wanted: str = "auto") -> torch.device:
    """The device that a job is done on by this process, one of several perhaps.

    Parameters
    ----------
    wanted
        What was asked for besides the job: auto, or a name of torch's.

    Raises
    ------
    CryobridgeError
        If there is no such device here.
    """
    import torch

    from .ranks import device_of_this_rank

    if wanted != "auto":
        return torch.device(wanted)
    if job.run.devices == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        try:
            return device_of_this_rank(torch.device("cuda"))
        except ValueError as error:
            raise CryobridgeError(f"{error}") from error
    if job.run.devices != "auto":
        raise CryobridgeError(f"run.devices is {job.run.devices}, but torch finds no GPU here; say cpu or auto")
    return torch.device("cpu")
