"""How many of which particles were selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.choosing import Mask


@dataclass(frozen=True)
class GroupCount:
    """Particles of one sort of group: the groups' names (K,), how many there are of each, and how many are selected."""

    what: str
    names: Sequence[str]
    all: NDArray[np.int64]
    selected: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of each group that is selected, (K,)."""
        found: NDArray[np.float64] = self.selected / np.maximum(self.all, 1)
        return found


def counts_of(particles: ParticleSet, clusters: NDArray[np.int64] | None, selected: Mask) -> list[GroupCount]:
    """Counts by cluster, optics group, half-set and micrograph, as far as they are known."""
    found = []
    if clusters is not None:
        found.append(_counted("cluster", clusters, selected))
    found.append(_counted("optics group", particles.optics_group + 1, selected))
    if (particles.half > 0).any():
        found.append(_counted("half-set", particles.half, selected))
    if (particles.micrograph >= 0).any():
        micrographs = _counted("micrograph", particles.micrograph, selected)
        names = [particles.micrographs[int(name)] if int(name) >= 0 else "unknown" for name in micrographs.names]
        found.append(GroupCount("micrograph", names, micrographs.all, micrographs.selected))
    return found


def counts_table(counts: Sequence[GroupCount]) -> str:
    """The counts as CSV."""
    rows = ["group,name,particles,selected,share"]
    for group in counts:
        for name, count, chosen, share in zip(group.names, group.all, group.selected, group.shares, strict=True):
            quoted = '"' + name.replace('"', '""') + '"' if any(mark in name for mark in ',"\n') else name
            rows.append(f"{group.what},{quoted},{count},{chosen},{share:.4f}")
    return "\n".join(rows) + "\n"


def _counted(what: str, labels: NDArray[np.int64], selected: Mask) -> GroupCount:
    known, which = np.unique(labels, return_inverse=True)
    every = np.bincount(which.ravel(), minlength=len(known))
    chosen = np.bincount(which.ravel(), weights=selected, minlength=len(known)).astype(np.int64)
    return GroupCount(what, [str(label) for label in known], every, chosen)
