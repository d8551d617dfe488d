"""Whether there is memory for a job, told before it starts; a warning, since the estimate is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from cryobridge.schemas.envelope import Job

from ...wants import largest_box

_GB = 1e9


def _free_on_host() -> int:
    return int(psutil.virtual_memory().available)


def _free_on_device(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0])


@dataclass(frozen=True)
class FreeMemory:
    """How free memory is found out, in bytes."""

    on_host: Callable[[], int] = _free_on_host
    on_device: Callable[[torch.device], int] = _free_on_device


def shortages(job: Job, device: torch.device, free: FreeMemory) -> list[str]:
    """Say where a job wants more memory than is free, one sentence each; nothing where its box is not known."""
    box = job.own_box(device.type) or largest_box(job)
    if box is None:
        return []
    try:
        wanted = job.memory(box, device.type)
    except ValueError:
        return []  # the kind itself says best which of its options do not go together
    lines = []
    on_host = wanted.of_host(device.type)
    if on_host > (available := free.on_host()):
        lines.append(
            f"{job.kind} wants about {on_host / _GB:.1f} GB of memory for a box of {box}, and {available / _GB:.1f} GB "
            "are free: it may be slow, or fail"
        )
    if device.type == "cuda" and wanted.device_bytes > (available := free.on_device(device)):
        lines.append(
            f"{job.kind} wants about {wanted.device_bytes / _GB:.1f} GB of {device} for a box of {box}, and "
            f"{available / _GB:.1f} GB are free: it may have to take smaller batches, or fail"
        )
    return lines
