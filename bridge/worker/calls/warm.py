"""Warm states: the networks that outlive an iteration, in memory and in the refinement's own folder.

A state goes on only in the refinement that it learned from: the same particles in the same half-sets (`identity`),
box, voxel size and options. Otherwise half 1 would be corrected by what half 2's particles taught. In a refinement's
first iteration there is nothing to go on from. A state on disk is safetensors (no code runs when it is read) with a
JSON note of all this; where it is damaged, does not fit, or where RELION's files do not tell, the training starts anew.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch

from cryobridge import __version__
from cryobridge.core.correction import CorrectionState
from cryobridge.schemas.bounds import MAX_CHECKPOINT_TABLE_BYTES
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.tensor_file import TensorFile

from .identity import Identities, Identity
from .standard import KeptHalf

log = logging.getLogger(__name__)

MAX_STATE_BYTES = 8 * 1024**3
MOST_IN_MEMORY = 8
"""Refinements whose networks stay in memory: others read theirs again from the job folder."""
FIRST_ITERATION = 1
"""The first that RELION calls for; iteration 0 is its setting up."""

_NOTE = "cryobridge"
_OPTIONS = ("mode", "preset", "norm")


@dataclass(frozen=True)
class Origin:
    """Where a state comes from and what it was trained for; `identity` is None where RELION's files do not tell."""

    iteration: int
    box: int
    voxel_size_A: float
    options: dict[str, str]
    identity: Identity | None

    @classmethod
    def of(cls, half: KeptHalf, options: CorrectionOptions, identity: Identity | None) -> Origin:
        """Of a state that is trained in this iteration."""
        return cls(half.iteration, half.box, half.voxel_size_A, _chosen(options), identity)

    def as_note(self) -> dict[str, Any]:
        """As JSON values."""
        identity = None if self.identity is None else self.identity.as_note()
        return {**vars(self), "identity": identity}

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Origin:
        """What `as_note` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the note is not of this kind.
        """
        options = {str(key): str(value) for key, value in dict(note["options"]).items()}
        identity = Identity.from_note(note.get("identity"))
        return cls(int(note["iteration"]), int(note["box"]), float(note["voxel_size_A"]), options, identity)

    def unfit_for(self, now: Origin) -> str | None:
        """Why a state from here cannot go on there, in words that follow "because"; None where it can.

        A state of a later iteration is left over from a run that was continued from before it. With the same half-sets
        it has seen particles of its own half only, so it serves.
        """
        if self.box != now.box or abs(self.voxel_size_A - now.voxel_size_A) > 1e-3:
            return f"it learned in a box of {self.box} voxels of {self.voxel_size_A:.3f} A"
        for key, value in now.options.items():
            if self.options.get(key) != value:
                return f"it was made with another {key} ({self.options.get(key)}, now {value})"
        if now.identity is None or self.identity is None:
            return "it is not known which particles it learned from"
        return now.identity.change_from(self.identity)


@dataclass
class Warm:
    """A state and where it comes from."""

    state: CorrectionState
    origin: Origin


@dataclass(frozen=True)
class Found:
    """What an iteration's training begins with.

    Attributes
    ----------
    state
        The network to go on from; None: begin anew.
    source
        "memory", "disk" or "none".
    words
        The same for RELION's log.
    origin
        Of the state that this iteration will leave.
    """

    state: CorrectionState | None
    source: str
    words: str
    origin: Origin


class WarmStates:
    """The warm states of one worker, by refinement and body or class.

    Parameters
    ----------
    device
        Where they are trained.
    rests_on
        Where they wait for the next iteration: the host, unless the device is ours alone.
    """

    def __init__(self, device: torch.device, rests_on: torch.device | None = None) -> None:
        self._device = device
        self._rests_on = rests_on or torch.device("cpu")
        self._states: dict[str, Warm] = {}
        self._identities = Identities()

    def __len__(self) -> int:
        return len(self._states)

    def find(self, half: KeptHalf, options: CorrectionOptions) -> Generator[None, None, Found]:
        """Find the state that an iteration may go on from. Yields while RELION's particle file is read.

        A state in memory that does not fit is forgotten: its refinement is over.
        """
        identity, unknown = None, ""
        try:
            identity = yield from self._identities.of(half)
        except InputInvalid as error:
            unknown = str(error)
        origin = Origin.of(half, options, identity)

        def anew(why: str) -> Found:
            self.drop(half.warm_key)
            return Found(None, "none", f"the network starts anew, because {why}", origin)

        if half.options.retrain_each_iteration:
            return anew("retrain_each_iteration is set")
        if half.iteration <= FIRST_ITERATION:
            return anew("this is the refinement's first iteration")
        if identity is None:
            return anew(unknown)
        here, why = self._states.get(half.warm_key), ""
        if here is not None:
            why = here.origin.unfit_for(origin) or ""
            if not why:
                return Found(here.state, "memory", _goes_on(here.origin, "in memory"), origin)
        try:
            stored = _read(half, origin, options, self._device)
        except _Unfit as unfit:
            return anew(why or str(unfit))
        if stored is None:
            return anew(why or "there is none of this refinement yet")
        return Found(stored.state, "disk", _goes_on(stored.origin, "from the job folder"), origin)

    def begin(self, half: KeptHalf) -> None:
        """Take note of a call: with the first iteration a refinement begins, and what is left of another one goes."""
        if half.iteration <= FIRST_ITERATION:
            self.drop(half.warm_key)

    def keep(self, half: KeptHalf, origin: Origin, state: CorrectionState) -> None:
        """Remember a state that gave a good result, where it does not take the room that RELION wants next.

        Of more than `MOST_IN_MEMORY` the one that was kept longest ago is forgotten here.
        """
        state.to(self._rests_on)
        self.drop(half.warm_key)
        self._states[half.warm_key] = Warm(state, origin)
        while len(self._states) > MOST_IN_MEMORY:
            self.drop(next(iter(self._states)))

    def drop(self, warm_key: str) -> None:
        """Forget one state, for instance because its result was not usable."""
        self._states.pop(warm_key, None)

    def release(self, session: str) -> None:
        """Forget all states of a refinement."""
        for key in [key for key in self._states if key.rpartition("#")[0] == session]:
            del self._states[key]


def write_state(fd: int, half: KeptHalf, origin: Origin, state: CorrectionState) -> tuple[int, int]:
    """Write a state whole into a descriptor; return its size and CRC-32."""
    note = {"version": __version__, "key": half.warm_key.rpartition("#")[2], **origin.as_note()}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in state.tensors().items()}
    data = safetensors.torch.save(tensors, metadata={_NOTE: json.dumps(note)})
    os.ftruncate(fd, 0)
    view = memoryview(data)
    offset = 0
    while offset < len(data):
        offset += os.pwrite(fd, view[offset : offset + 2**26], offset)
    return len(data), zlib.crc32(data)


class _Unfit(Exception):  # noqa: N818 - not an error: it says in words why a stored state cannot go on
    """Why a state on disk is passed over."""


def _goes_on(origin: Origin, where: str) -> str:
    return f"the network goes on warm from iteration {origin.iteration} ({where})"


def _chosen(options: CorrectionOptions) -> dict[str, str]:
    return {key: str(getattr(options, key)) for key in _OPTIONS}


def _read(half: KeptHalf, now: Origin, options: CorrectionOptions, device: torch.device) -> Warm | None:
    """The state in the job folder; None where there is none, `_Unfit` where it cannot go on."""
    fd = half.descriptors.get("session_in")
    if fd is None:
        return None
    try:
        size = os.fstat(fd).st_size
        if not 8 < size <= MAX_STATE_BYTES:
            raise ValueError(f"{size} bytes")
        file = TensorFile(fd, MAX_CHECKPOINT_TABLE_BYTES)
        note = _note(file)
        if note.get("key") != half.warm_key.rpartition("#")[2]:
            raise _Unfit("the stored one is another class's or body's")
        if "identity" not in note:
            raise _Unfit("it is not known which particles the stored one learned from")
        origin = Origin.from_note(note)
        if (why := origin.unfit_for(now)) is not None:
            raise _Unfit(why)
        # Only now, where it fits: a file of zeros costs nothing until it is read.
        tensors = {name: file.read(name) for name in file.names}
        return Warm(CorrectionState.from_tensors(tensors, options, device), origin)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        log.warning("the session file cannot be used (%s)", error)
        raise _Unfit(f"the stored one cannot be used ({' '.join(str(error).split())[:200]})") from error


def _note(file: TensorFile) -> dict[str, Any]:
    note = json.loads(file.metadata.get(_NOTE, "{}"))
    if not isinstance(note, dict):
        raise TypeError("its note is not a table")
    return note
