"""What latents must not depend on if they are of the molecule: defocus, view, shift, where a particle lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.landscape import rank_correlation
from cryobridge.wrappers.particles.particle_set import ParticleSet

from .particle_values import values_of_set

Columns = dict[str, NDArray[np.float64]]

_WARN_ABOVE = 0.2
"""Of rank correlation, where it is also far beyond chance."""
_DEVIATIONS = 5.0
_MOST_GROUP_SHARE = 0.1
"""Of a component's variance that lies between groups of particles, beyond chance."""


@dataclass(frozen=True)
class Dependence:
    """How a component goes with something that is not of the molecule.

    Attributes
    ----------
    component, covariate
        Their names.
    strength
        Rank correlation, or for groups the share of the variance that lies between them, less what chance gives.
    is_strong
        Whether to warn.
    """

    component: str
    covariate: str
    strength: float
    is_strong: bool


def covariates_of(particles: ParticleSet | None, firsts: NDArray[np.int64] | None = None) -> Columns:
    """Columns (N,) of what is known of each particle, with units in the names; none without particles.

    Parameters
    ----------
    firsts
        (N,) the row that stands for each particle, where several images show one; every row for itself if None.
    """
    found: Columns = {}
    if particles is None:
        return found
    known = values_of_set(particles if firsts is None else particles.of(firsts))
    if "defocus_u_A" in known:
        found["defocus (A)"] = (known["defocus_u_A"] + known["defocus_v_A"]) / 2
    if "tilt_deg" in known:
        found["view: polar angle (deg)"] = known["tilt_deg"]
        found["view: azimuth (deg)"] = known["rot_deg"]
    if "shift_x_A" in known:
        found["shift (A)"] = np.hypot(known["shift_x_A"], known["shift_y_A"])
    micrograph, group = known["micrograph"], known["optics_group"]
    if (micrograph >= 0).any() and len(np.unique(micrograph)) > 1:
        found["micrograph"] = np.where(micrograph >= 0, micrograph, np.nan)
    if len(np.unique(group)) > 1:
        found["optics group"] = group
    return found


def dependences(components: Mapping[str, NDArray[np.float64]], covariates: Columns) -> list[Dependence]:
    """Every component (N,) against every covariate: ranks, and for groups and azimuths shares of the variance.

    What chance gives is told by N, so a particle that many images show must be there once.
    """
    found = []
    for name, values in components.items():
        for covariate, column in covariates.items():
            if covariate in ("micrograph", "optics group"):
                share = between_groups(values, column)
                strong = share > max(_MOST_GROUP_SHARE, _by_chance(column))
            elif "azimuth" in covariate:
                # An angle has no order: sectors of it are groups.
                sectors = np.floor(column / 30)
                share = between_groups(values, sectors)
                strong = share > max(_WARN_ABOVE**2, _by_chance(sectors))
            else:
                share = rank_correlation(values, column)
                strong = abs(share) > max(_WARN_ABOVE, _DEVIATIONS / np.sqrt(len(values)))
            found.append(Dependence(name, covariate, share, bool(strong)))
    return found


def warnings_of(found: Sequence[Dependence]) -> list[str]:
    """A sentence for each that is strong."""
    return [
        f"{one.component} goes with {one.covariate} ({one.strength:.2f}): what varies along it may be of the imaging, "
        "not of the molecule."
        for one in found
        if one.is_strong
    ]


def _by_chance(groups: NDArray[np.float64]) -> float:
    """What `between_groups` of these groups (N,) hardly ever reaches where values do not depend on them.

    Of a normal distribution the chi square of G - 1 has the deviation sqrt(2 (G - 1)), and the share is 1 / N of it.
    """
    known = groups[np.isfinite(groups)]
    return _DEVIATIONS * float(np.sqrt(2 * max(len(np.unique(known)) - 1, 0))) / max(len(known), 1)


def between_groups(values: NDArray[np.float64], groups: NDArray[np.float64]) -> float:
    """Share of the variance of values (N,) that lies between groups (N,), less what chance gives; NaN belong to none.

    Omega squared: (SS_between - (G - 1) MS_within) / (SS_total + MS_within).
    """
    known = np.isfinite(groups)
    _, member = np.unique(groups[known], return_inverse=True)
    column = values[known]
    count = int(member.max(initial=0)) + 1
    if len(column) <= count or count < 2:
        return 0.0
    sizes = np.bincount(member, minlength=count)
    means = np.bincount(member, weights=column, minlength=count) / sizes
    within = float(((column - means[member]) ** 2).sum()) / (len(column) - count)
    between = float((sizes * (means - column.mean()) ** 2).sum())
    total = float(((column - column.mean()) ** 2).sum())
    return (between - (count - 1) * within) / max(total + within, 1e-300)
