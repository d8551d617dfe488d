"""Warm states: the networks that outlive an iteration, in memory and in the refinement's own folder.

A state on disk is safetensors (no code runs when it is read) with a JSON note of what it was trained for;
one that does not fit the call (other box, voxel size, body, options) or is damaged is passed over, and the
training starts afresh.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch

from cryobridge import __version__
from cryobridge.core.correction import CorrectionState
from cryobridge.schemas.correction import CorrectionOptions

from .standard import KeptHalf

log = logging.getLogger(__name__)

MAX_STATE_BYTES = 8 * 1024**3
_NOTE = "cryobridge"


@dataclass
class Warm:
    """A state with what it was trained for."""

    state: CorrectionState
    iteration: int
    box: int
    voxel_size_A: float
    options: CorrectionOptions


class WarmStates:
    """The warm states of one worker, by refinement and body or class."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._states: dict[str, Warm] = {}

    def __len__(self) -> int:
        return len(self._states)

    def find(self, half: KeptHalf, options: CorrectionOptions) -> tuple[CorrectionState | None, str]:
        """Return the state to go on from (None: start afresh), and "memory", "disk" or "none".

        A state of this iteration or a later one is left over from a run that was continued from before it. It
        has seen this specimen all the same, so it serves.
        """
        if half.options.retrain_each_iteration:
            return None, "none"
        here = self._states.get(half.warm_key)
        if here is not None and _fits(here, half, options):
            return here.state, "memory"
        found = _read(half, options, self._device)
        return (found, "disk") if found is not None else (None, "none")

    def keep(self, half: KeptHalf, options: CorrectionOptions, state: CorrectionState) -> None:
        """Remember a state that gave a good result, parked on the host: RELION takes the device's memory next."""
        state.to(torch.device("cpu"))
        self._states[half.warm_key] = Warm(state, half.iteration, half.box, half.voxel_size_A, options)

    def drop(self, warm_key: str) -> None:
        """Forget one state, for instance because its result was not usable."""
        self._states.pop(warm_key, None)

    def release(self, session: str) -> None:
        """Forget all states of a refinement."""
        for key in [key for key in self._states if key.rpartition("#")[0] == session]:
            del self._states[key]


def write_state(fd: int, half: KeptHalf, options: CorrectionOptions, state: CorrectionState) -> tuple[int, int]:
    """Write a state whole into a descriptor; return its size and CRC-32."""
    note = {
        "version": __version__,
        "key": half.warm_key.rpartition("#")[2],
        "iteration": half.iteration,
        "box": half.box,
        "voxel_size_A": half.voxel_size_A,
    }
    tensors = {name: tensor.contiguous().cpu() for name, tensor in state.tensors().items()}
    data = safetensors.torch.save(tensors, metadata={_NOTE: json.dumps(note)})
    os.ftruncate(fd, 0)
    view = memoryview(data)
    offset = 0
    while offset < len(data):
        offset += os.pwrite(fd, view[offset : offset + 2**26], offset)
    return len(data), zlib.crc32(data)


def _fits(warm: Warm, half: KeptHalf, options: CorrectionOptions) -> bool:
    return (
        warm.box == half.box
        and abs(warm.voxel_size_A - half.voxel_size_A) < 1e-3
        and all(getattr(warm.options, key) == getattr(options, key) for key in ("mode", "preset", "norm"))
    )


def _read(half: KeptHalf, options: CorrectionOptions, device: torch.device) -> CorrectionState | None:
    fd = half.descriptors.get("session_in")
    if fd is None:
        return None
    try:
        size = os.fstat(fd).st_size
        if not 8 < size <= MAX_STATE_BYTES:
            raise ValueError(f"{size} bytes")
        data = os.pread(fd, size, 0)
        note = _note(data)
        if (
            note.get("key") != half.warm_key.rpartition("#")[2]
            or note.get("box") != half.box
            or abs(float(note.get("voxel_size_A", 0)) - half.voxel_size_A) > 1e-3
        ):
            log.info("the session file was made for another box or body; starting afresh")
            return None
        tensors = safetensors.torch.load(data)
        return CorrectionState.from_tensors(tensors, options, device)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        log.warning("the session file cannot be used (%s); starting afresh", error)
        return None


def _note(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(len(data) - 8, 100 * 1024 * 1024):
        raise ValueError("no safetensors header")
    header = json.loads(data[8 : 8 + length])
    note = json.loads(header.get("__metadata__", {}).get(_NOTE, "{}"))
    if not isinstance(note, dict):
        raise TypeError("its note is not a table")
    return note
