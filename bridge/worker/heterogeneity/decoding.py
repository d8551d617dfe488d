"""Volumes of many latents out of a model, as many together as memory and a prompt answer allow."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.latent import SteppedModel, VolumeModel
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.memory import volumes

_BATCH_S = 30.0
"""Of a model without steps: between two batches calls go first and a cancel is heard."""
_REST_S = 0.2
"""Of one with steps: after so long calls may go first."""
_LEAST_BATCH, _LARGEST_BATCH = 4, 64
"""With fewer, what is the same for all latents costs a network as much as the rest."""
_VOLUMES_OF_ONE = 10
"""Volumes' worth of memory that a spectrum becoming a volume takes."""
_SHARE = 0.5
"""Of the free memory, since others want some."""


def decoded(
    model: VolumeModel, latents: NDArray[np.float32], device: torch.device, batch: int | None = None
) -> Iterator[Tensor | None]:
    """Each volume (box, box, box) of latents (K, zdim), on the device, in their order; None now and then in between.

    Parameters
    ----------
    batch
        How many are computed together; found out by the time that they take if None.

    Raises
    ------
    InputInvalid
        If not even one fits into memory, or one is not finite.
    """
    most = together_at_most(model.box, device)
    size = min(most, batch or _LEAST_BATCH)
    first = 0
    while first < len(latents):
        begun = _clock_s(device)
        found = yield from _rested(model, torch.from_numpy(latents[first : first + size]).to(device))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if not bool(torch.isfinite(found).all()):
            raise InputInvalid(
                f"latents {first} to {first + len(found) - 1}, counted from 0: the model makes volumes of them that "
                "are not finite; give latents nearer to the particles'"
            )
        each_s = (_clock_s(device) - begun) / len(found)
        yield from found
        first += len(found)
        if batch is None:
            size = min(most, _LARGEST_BATCH, 2 * size, max(_LEAST_BATCH, int(_BATCH_S / max(each_s, 1e-6))))


def _rested(model: VolumeModel, z: Tensor) -> Generator[None, None, Tensor]:
    """Volumes (B, box, box, box) of latents (B, zdim), with a rest now and then where the model has any."""
    if not isinstance(model, SteppedModel):
        return model.volumes(z)
    steps, rested = model.volumes_in_steps(z), time.monotonic()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Tensor = end.value
            return found
        if time.monotonic() - rested > _REST_S:
            yield
            rested = time.monotonic()


def _clock_s(device: torch.device) -> float:
    """What a batch is timed by: on a CPU the time at work, so that others at work beside it make no batch smaller."""
    return time.monotonic() if device.type == "cuda" else time.thread_time()


def together_at_most(box: int, device: torch.device) -> int:
    """How many volumes of a box may be computed together in the memory that is free.

    Raises
    ------
    InputInvalid
        If not even one.
    """
    if device.type == "cuda":
        free = int(torch.cuda.mem_get_info(device)[0])
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    else:
        free = int(psutil.virtual_memory().available)
    wanted = volumes(_VOLUMES_OF_ONE, box)
    if wanted > free:
        raise InputInvalid(
            f"a volume of box {box} takes {wanted / 1e9:.1f} GB while it is computed, and {free / 1e9:.1f} GB of "
            f"{device} are free; free some, or use a run of a smaller box"
        )
    # Beyond the first, each takes its spectrum and itself.
    return 1 + int(max(0.0, _SHARE * free - wanted) // volumes(2, box))


def expect_room_on_disk(folder: Path, count: int, box: int) -> None:
    """Refuse what the disk under a folder that may not be there yet cannot take, before anything is computed.

    Raises
    ------
    InputInvalid
        If the volumes are larger than what is free.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free, wanted = shutil.disk_usage(there).free, volumes(count, box)
    if wanted > free:
        raise InputInvalid(
            f"{folder} (output): {count} volumes of box {box} take {wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free there; ask for fewer, for a smaller box, or give another folder"
        )
