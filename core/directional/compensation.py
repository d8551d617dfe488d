"""What the set of views alone does to a reconstruction: the sampling compensation factor, SCF and SCF*.

Geometry only: a junk particle counts as much as a good one. Views are unit vectors (m, 3) in z, y, x order, as
`sampling.view_directions` makes them of RELION's angles.

References
----------
Baldwin & Lyumkis 2020, doi 10.1016/j.pbiomolbio.2019.09.002 (SCF); 2021, doi 10.1016/j.pbiomolbio.2020.06.003 (SCF
from one sphere in Fourier space). SCF* is computed as by the authors' program CommandLineSCF since April 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import fibonacci_directions
from .sampling import direction_density, symmetric_views

FOURIER_RADIUS = 50
"""Fourier radius in pixels of the sphere on which samples are counted, as in the authors' program."""

FEWEST_SAMPLES = 9.5
"""Ours: views that measure a direction on average, below which SCF* is mostly chance. At the default radius and without
symmetry that is 950 views; so many random even views have 0.88, and 500 have 0.77."""

_SAME = 1e-4
_DIRECTIONS = 5000
_VIEWS_AT_ONCE = 2000
_SPREAD_OVER = 4


@dataclass(frozen=True)
class SamplingCompensation:
    """How evenly views sample Fourier space.

    `scf` is over the sampled directions only, `scf_star` counts the others too; `unsampled` is their share, and
    `mean_samples` the views that measure a direction on average. Where much is unsampled `scf` says nothing (it can be
    above 1): read `scf_star`, which is between 0 and 1. `one_view`: all views are one and the same, symmetric copies
    not counted.
    """

    scf: float
    scf_star: float
    unsampled: float
    mean_samples: float
    one_view: bool = False

    @property
    def enough(self) -> bool:
        """Whether there are views enough to judge by: with few, directions are unsampled by chance, even views too."""
        return self.mean_samples >= FEWEST_SAMPLES and not self.one_view


def sampling_compensation(
    views: Tensor, symmetry: Tensor | None = None, *, fourier_radius: float = FOURIER_RADIUS
) -> SamplingCompensation:
    """Compute SCF and SCF* of a set of views.

    With s(k) the number of views whose central slice, one voxel thick, holds direction k of the sphere with radius R
    (|k . v| <= 1 / 2R), p the share of directions with s > 0, q = 1 - p, and <.> the mean over directions:
    1 / SCF = <1 / s>_(s > 0) <s>, and 1 / SCF* = 1 / SCF + (q / p) <s> / 2: an unsampled direction counts as if it had
    been seen twice. So SCF* depends on the number of views wherever something is unsampled, and falls as
    1 / number. It is cut at 1, which the formula exceeds for a handful of views.

    Parameters
    ----------
    views
        (m, 3) unit vectors z, y, x.
    symmetry
        Rotation matrices (g, 3, 3) in x, y, z of the point group; None is C1.
    fourier_radius
        R in pixels.
    """
    # A view and its opposite are one.
    one_view = bool(((views @ views[0]).abs() > 1.0 - _SAME).all()) if views.shape[0] > 0 else False
    directions = fibonacci_directions(_DIRECTIONS, views.device)
    if symmetry is not None and symmetry.shape[0] > 1:
        directions = fibonacci_directions(_DIRECTIONS * min(symmetry.shape[0], _SPREAD_OVER), views.device)
        directions = directions[_in_one_unit(directions, symmetry)]
        views = symmetric_views(views, symmetry)
    samples = _samples(views.float(), directions, 0.5 / fourier_radius)
    seen = samples[samples > 0]
    if seen.numel() == 0:
        raise ValueError("no direction is sampled by any view")
    mean = float(samples.mean())
    sampled = seen.numel() / samples.numel()
    inverse_scf = float(seen.reciprocal().mean()) * mean
    inverse_star = inverse_scf + (1.0 - sampled) / sampled * mean / 2.0
    # A direction that no view sampled counts as seen twice: where most were seen once that would be more than all.
    scf_star = min(1.0, 1.0 / inverse_star)
    return SamplingCompensation(1.0 / inverse_scf, scf_star, 1.0 - sampled, mean, one_view)


def view_density(views: Tensor, directions: Tensor, half_angle_deg: float = 10.0) -> Tensor:
    """How densely views (m, 3) lie about each direction (d, 3), float64 (d,); 1 everywhere for evenly spread views.

    The share of views within `half_angle_deg` of the direction or its opposite, over the share of the sphere there.
    """
    if views.shape[0] == 0:
        raise ValueError("no views: a density needs at least one")
    cosine = math.cos(math.radians(half_angle_deg))
    found = torch.zeros(directions.shape[0], dtype=torch.float64, device=directions.device)
    for part in torch.split(views.to(directions), _VIEWS_AT_ONCE):
        found += ((directions @ part.T).abs() >= cosine).sum(dim=1)
    return found / (views.shape[0] * (1.0 - cosine))


def _samples(views: Tensor, directions: Tensor, half_width: float) -> Tensor:
    """How many views sample each direction, float64 (d,)."""
    found = torch.zeros(directions.shape[0], dtype=torch.float64, device=views.device)
    for part in torch.split(views, _VIEWS_AT_ONCE):
        found += direction_density(part, directions, half_width) * (half_width * part.shape[0])
    return found.round()


def _in_one_unit(directions: Tensor, symmetry: Tensor) -> Tensor:
    """Which directions (d, 3) lie in one asymmetric unit, boolean (d,): of all its images each is nearest to an anchor.

    Samples are the same in all units, and counting in one costs as little as without symmetry.
    """
    anchor = torch.nn.functional.normalize(directions.new_tensor([0.83, 0.31, 0.47]), dim=0)
    images = symmetric_views(directions, symmetry.to(directions)).view(directions.shape[0], -1, 3)
    return (directions @ anchor).abs() >= (images @ anchor).abs().amax(dim=1) - 1e-6
