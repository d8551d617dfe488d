"""Which refinement a network learned from: its particles, their half-sets, and what it was started with.

A network that goes on from one iteration to the next must have seen particles of the same half only. Folder, box and
voxel size do not tell: a refinement started again in its folder divides the particles anew, and another specimen may
fit as well.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.relion.half_sets import HalfSets, read_half_sets

from .standard import KeptHalf

_REMEMBERED = 16


@dataclass(frozen=True)
class Identity:
    """What stays the same through a refinement, `--continue` included.

    Attributes
    ----------
    half_sets
        Digest of which particle is in which half-set.
    names
        Digest of the particles' names alone.
    particles, reference
        The files that `--i` and `--ref` named at the start, or None where RELION's first files are gone.
    """

    half_sets: str
    names: str
    particles: str | None
    reference: str | None

    def as_note(self) -> dict[str, str | None]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_note(cls, note: object) -> Identity | None:
        """What `as_note` gave; None where that cannot be read."""
        if not isinstance(note, Mapping):
            return None
        half_sets, names = note.get("half_sets"), note.get("names")
        if not isinstance(half_sets, str) or not isinstance(names, str):
            return None
        return cls(half_sets, names, _text(note.get("particles")), _text(note.get("reference")))

    def change_from(self, former: Identity) -> str | None:
        """What makes this refinement another one than the `former`, in words; None where they are one."""
        if self.names != former.names:
            return "it learned from other particles"
        if self.half_sets != former.half_sets:
            return "the particles are divided into other half-sets than it learned from"
        # The half-sets alone keep the halves independent, so a start that is not known any more is no reason.
        for what, ours, theirs in (
            ("particle file", self.particles, former.particles),
            ("reference", self.reference, former.reference),
        ):
            if ours is not None and theirs is not None and ours != theirs:
                return f"it learned in a refinement with another {what} ({theirs})"
        return None


class Identities:
    """Tells the identity of refinements; remembers the last few files, so that none is read twice."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, ...], HalfSets] = {}

    def of(self, half: KeptHalf) -> Generator[None, None, Identity]:
        """The identity of the refinement that a call belongs to. Yields between pieces of the particle file.

        Raises
        ------
        InputInvalid
            If RELION's particle file of the iteration before is missing or not whole; says what is wrong in words that
            follow "because".
        """
        fd = half.descriptors.get("data")
        if fd is None:
            raise InputInvalid("RELION's particle file of the iteration before is missing")
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise InputInvalid("RELION's particle file of the iteration before is no file")
        # Whoever changes a file without changing one of these changes his own refinement only.
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        sets = self._seen.get(key)
        if sets is None:
            sets = yield from read_half_sets(fd, "RELION's particle file of the iteration before")
            while len(self._seen) >= _REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = sets
        return Identity(sets.digest, sets.names, half.facts.particles, half.facts.reference)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
