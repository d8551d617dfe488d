"""Which rows of latents are objects: of a tilt series every image has the latent of its object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.wrappers.particles.particle_set import ParticleSet

Rows = NDArray[np.int64]

_SAME = 1e-4
"""Of a number's deviation: of equal scores a network makes latents that differ by rounding."""


@dataclass(frozen=True)
class Objects:
    """O objects among N rows of latents, in the order of their first rows.

    Attributes
    ----------
    firsts
        (O,) the first row of each.
    of_row
        (N,) which object each row shows.
    """

    firsts: Rows
    of_row: Rows

    @classmethod
    def of(cls, latents: NDArray[np.float32], particles: ParticleSet | None) -> Objects:
        """Those that tilts name where all images of each have one latent (N, d), else every row for itself."""
        rows = np.arange(len(latents), dtype=np.int64)
        if particles is None or particles.tilts is None or len(particles) != len(latents):
            return cls(rows, rows)
        named = objects_named(particles.tilts.particle)
        unlike = np.abs(latents - latents[named.firsts][named.of_row])
        alike = bool((unlike <= _SAME * latents.std(axis=0)).all()) if latents.size else True
        return named if alike else cls(rows, rows)

    def with_any(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which objects (O,) have any of some rows (N,)."""
        found = np.zeros(len(self.firsts), np.bool_)
        found[self.of_row[chosen]] = True
        return found

    @property
    def are_rows(self) -> bool:
        """Whether every row is an object of its own."""
        return len(self.firsts) == len(self.of_row)

    @property
    def counted(self) -> str:
        """How many, for people."""
        return f"{len(self.firsts)} particles{self._images}"

    @property
    def number(self) -> str:
        """How many, beside a word that says of what."""
        return f"{len(self.firsts)}{self._images}"

    @property
    def metrics(self) -> dict[str, int]:
        """How many, for a result; images only where they are not the particles."""
        return {"particles": len(self.firsts)} | ({} if self.are_rows else {"images": len(self.of_row)})

    @property
    def _images(self) -> str:
        return "" if self.are_rows else f" ({len(self.of_row)} images)"


def objects_named(names: NDArray[np.int64]) -> Objects:
    """The objects of rows by the number (N,) that each names its object with."""
    _, first, which = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.argsort(order)
    return Objects(first[order].astype(np.int64), rank[which.reshape(-1)].astype(np.int64))
