"""Random uneven sampling of Fourier space by direction: cones that are hardly seen, and clusters of views."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..fourier import bin_directions, frequency_bins

_BINS_PER_FACE = 32
_VIEWS = 400


def random_sampling(n: int, generator: torch.Generator) -> Tensor:
    """Draw a sampling density by direction.

    One in eight is even, half of the others have one to three badly sampled double cones, down to 1/100, with edges
    that are sharp or soft; half come from views in clusters and an even rest, each view filling a great circle.

    Returns
    -------
    (n, n, n // 2 + 1) float32, about 1 in the well-sampled directions.
    """
    directions = bin_directions(_BINS_PER_FACE)
    kind = float(torch.rand((), generator=generator))
    if kind < 0.125:
        density = torch.ones(len(directions))
    elif kind < 0.56:
        density = _cones(directions, generator)
    else:
        density = _from_views(directions, generator)
    return density[frequency_bins(n, _BINS_PER_FACE)]


def _cones(directions: Tensor, generator: torch.Generator) -> Tensor:
    density = torch.ones(len(directions))
    for _ in range(1 + int(torch.randint(3, (), generator=generator))):
        axis = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
        half_angle, edge, depth = torch.rand(3, generator=generator).tolist()
        angle = torch.rad2deg((directions @ axis).abs().clamp(max=1).acos())
        inside = math.exp(-math.log(100.0) * depth)
        border = 15 + 45 * half_angle
        if float(torch.rand((), generator=generator)) < 0.25:
            angle = 90 - angle  # a ring about the equator instead
            border = border / 2
        density = density * (inside + (1 - inside) * torch.sigmoid((angle - border) / (1 + 8 * edge)))
    return density / float(density.max())


def _from_views(directions: Tensor, generator: torch.Generator) -> Tensor:
    clusters = 1 + int(torch.randint(3, (), generator=generator))
    centres = torch.nn.functional.normalize(torch.randn(clusters, 3, generator=generator), dim=1)
    which = torch.randint(clusters, (_VIEWS,), generator=generator)
    spread = 0.05 + 0.5 * float(torch.rand((), generator=generator))
    views = centres[which] + spread * torch.randn(_VIEWS, 3, generator=generator)
    even = float(torch.rand((), generator=generator)) ** 2 * 0.3
    views = torch.nn.functional.normalize(views, dim=1)
    # A great circle that is a few degrees wide, since each voxel takes from its neighbours.
    hits = torch.exp(-((directions @ views.T) / 0.05).square() / 2).mean(1)
    level = math.sqrt(2 * math.pi) * 0.05 / 2
    density = (1 - even) * hits / level + even
    return density / float(density.mean())
