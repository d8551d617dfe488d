"""Sections of maps along any axis."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from cryobridge.core.volume import sections_along

N = 24


def rod(axis: torch.Tensor) -> torch.Tensor:
    """A map (n, n, n) of a rod of width 2 along an axis through the centre, 16 voxels long."""
    steps = torch.arange(N, dtype=torch.float32) - N // 2
    places = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    along = places @ axis
    across = (places.square().sum(-1) - along.square()).clamp(min=0)
    return (-across / 4).exp() * (along.abs() < 8)


@pytest.mark.parametrize("axis", [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (1.0, 1.0, 1.0), (0.2, -0.9, 0.4)])
def test_what_lies_along_the_axis_stands_upright_in_the_page(axis: tuple[float, float, float]) -> None:
    direction = functional.normalize(torch.tensor(axis), dim=0)
    first, second, across = sections_along(rod(direction), direction)
    for section in (first, second):
        assert float(section[N // 2 - 6 : N // 2 + 7, N // 2].min()) > 0.8
        assert float(section[:, : N // 2 - 6].max()) < 0.05
    assert float(across[N // 2, N // 2]) > 0.8
    spread = math.sqrt(float(across.sum() / across.max()))
    assert spread < 5


def test_along_z_the_sections_are_those_of_the_map() -> None:
    volume = torch.randn(N, N, N, generator=torch.Generator().manual_seed(0))
    _, _, across = sections_along(volume, torch.tensor([1.0, 0, 0]))
    middle = volume[N // 2]
    turned = (middle, middle.flip(0), middle.flip(1), middle.flip(0, 1))
    candidates = [*turned, *(one.T for one in turned)]
    # A flipped section of an even box is off by a voxel: its centre is voxel n // 2.
    rolled = [one.roll(shift, (0, 1)) for one in candidates for shift in ((0, 0), (0, 1), (1, 0), (1, 1))]
    inner = slice(2, -2)
    assert min(float((across - one)[inner, inner].abs().max()) for one in rolled) < 1e-4
