"""Directions judged against the best of the same pair."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.directional import direction_quality, fsc3d, signal_by_view
from cryobridge.core.fourier import fibonacci_directions, radius, shell_index
from cryobridge.core.volume import phantom_pair

N, LAST = 48, 16


def in_cone(n: int, half_angle_deg: float) -> torch.Tensor:
    """Voxels (n, n, n // 2 + 1) within an angle of the z axis."""
    kz = torch.fft.fftfreq(n, 1 / n).abs().view(n, 1, 1)
    return kz >= math.cos(math.radians(half_angle_deg)) * radius(n)


def test_a_cone_is_found_and_the_rest_is_left_alone() -> None:
    volume = torch.where(in_cone(N, 40), 0.1, 0.9)
    quality = direction_quality(volume, LAST)
    off_axis = torch.rad2deg(quality.directions[:, 0].abs().clamp(max=1).acos())
    assert float(quality.badly[off_axis < 25].min()) == 1
    assert float(quality.badly[off_axis > 60].max()) == 0


@pytest.mark.parametrize("seed", range(3))
def test_in_an_isotropic_pair_nothing_is_bad(seed: int) -> None:
    pair = phantom_pair(N, cone_deg=40, inside=1.0, seed=seed)
    volume = fsc3d(pair.half1, pair.half2, pair.mask, limit_shell=LAST, half_angle_deg=10.0).clamp(min=0)
    assert float(direction_quality(volume, LAST).badly.max()) < 0.35


def test_what_lies_beyond_the_last_shell_does_not_count() -> None:
    volume = torch.where(in_cone(N, 40), 0.1, 0.9)
    beyond = torch.where(shell_index(N) > LAST, 0.0, volume)
    assert torch.equal(direction_quality(volume, LAST).mean, direction_quality(beyond, LAST).mean)


def test_a_view_along_a_bad_cone_sees_what_is_measured_well() -> None:
    quality = direction_quality(torch.where(in_cone(N, 40), 0.1, 0.9), LAST)
    views = torch.cat([torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]), fibonacci_directions(50)])
    seen = signal_by_view(quality, views)
    assert int(seen.argmax()) == 0
    assert float(seen[1]) < float(seen[0]) - 0.2
