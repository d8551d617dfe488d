"""What is found out of volumes from all over a latent space, and its tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.landscape import Clusters, Labels, ScoreMap, VolumeSpace
from cryobridge.wrappers.formats.array_file import arrays_bytes

from ....heterogeneity.objects import Objects

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LandscapeFindings:
    """States of V volumes and N particles.

    Attributes
    ----------
    objects
        The N particles among the run's rows: images of one object with one latent are one particle.
    latents
        (N, d).
    clusters
        Of the latents, one for each volume.
    space
        Components of the volumes.
    scores
        (V, K) of the volumes along them.
    states
        (V,) of the volumes, 0 with the most particles.
    every
        Every particle among the volumes.
    """

    objects: Objects
    latents: Numbers
    clusters: Clusters
    space: VolumeSpace
    scores: Numbers
    states: Labels
    every: ScoreMap

    @property
    def count(self) -> int:
        """Number of states."""
        return int(self.states.max()) + 1

    @property
    def particle_states(self) -> Labels:
        """(N,) the state of each particle: that of its cluster's volume."""
        found: Labels = self.states[self.clusters.labels]
        return found

    @property
    def particles(self) -> Labels:
        """Particles of each state."""
        return np.bincount(self.particle_states, minlength=self.count).astype(np.int64)


def states_bytes(found: LandscapeFindings) -> bytes:
    """By image: state, cluster, components of volumes; and of each volume the row of its centre, and its state."""
    of_row = found.objects.of_row
    return arrays_bytes(
        {
            "state": found.particle_states[of_row].astype(np.int32),
            "cluster": found.clusters.labels[of_row].astype(np.int32),
            "volume_pc": found.every.scores[of_row].astype(np.float32),
            "volume_centre": found.objects.firsts[found.clusters.centres],
            "volume_state": found.states,
            "volume_score": found.scores.astype(np.float32),
        }
    )


def indices_bytes(found: LandscapeFindings, state: int) -> bytes:
    """The images of a state's particles, by row from 0 on."""
    return arrays_bytes({"indices": np.flatnonzero(found.particle_states[found.objects.of_row] == state)})


def state_table(found: LandscapeFindings, spreads: list[float]) -> str:
    """A row for each state: particles, their share, volumes, and its spread over that between all volumes.

    Parameters
    ----------
    spreads
        Root mean square, inside the mask, of each state's standard deviation.
    """
    particles, volumes = found.particles, np.bincount(found.states, minlength=found.count)
    rows = ["state,particles,share,volumes,rms_spread"]
    for state in range(found.count):
        share = particles[state] / particles.sum()
        rows.append(f"{state},{particles[state]},{share:.6f},{volumes[state]},{spreads[state]:.6g}")
    return "\n".join(rows) + "\n"


def volume_table(found: LandscapeFindings) -> str:
    """A row for each volume: its state, particles, centre, and components."""
    names = [f"volume_pc{number + 1}" for number in range(found.scores.shape[1])]
    rows = [",".join(("volume", "state", "particles", "centre", *names))]
    centres = found.objects.firsts[found.clusters.centres]
    for number, scores in enumerate(found.scores.tolist()):
        told = found.states[number], found.clusters.counts[number], centres[number]
        rows.append(",".join((str(number), *map(str, told), *(f"{score:.6g}" for score in scores))))
    return "\n".join(rows) + "\n"


def component_table(found: LandscapeFindings) -> str:
    """A row for each component: its share of the variance, and how much of it the latents tell."""
    rows = ["component,share,held_out_r2"]
    for number, (share, told) in enumerate(zip(found.space.shares, found.every.held_out_r2, strict=True), 1):
        rows.append(f"{number},{share:.6f},{'' if np.isnan(told) else f'{told:.6f}'}")
    return "\n".join(rows) + "\n"
