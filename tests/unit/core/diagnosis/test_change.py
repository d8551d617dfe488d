"""Change maps of maps that were changed by a known amount."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.diagnosis import change
from cryobridge.core.fourier.shells import shell_index
from cryobridge.core.fourier.transforms import apply_filter, forward, frequency_axes, friedel_weights, radius

Z = torch.tensor([1.0, 0.0, 0.0])


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, n, n, generator=torch.Generator().manual_seed(seed))


def polar_deg(n: int) -> torch.Tensor:
    return torch.rad2deg((frequency_axes(n)[0].abs() / radius(n).clamp(min=0.5)).clamp(max=1).acos())


def test_nothing_changed_is_zero_and_a_gain_is_its_square() -> None:
    volume = noise(16)
    assert float(change.power_changed(volume, volume, Z).nan_to_num().abs().max()) == 0.0
    doubled = change.power_changed(volume, 2.0 * volume, Z)
    assert doubled[2:].nan_to_num(1.0).numpy() == pytest.approx(1.0)


@pytest.mark.parametrize("n", [24, 25])
def test_what_is_changed_in_a_cone_shows_in_its_bins_only(n: int) -> None:
    volume = noise(n)
    gain = torch.where(polar_deg(n) < 30.0, 0.5, 1.0)
    found = change.power_changed(volume, apply_filter(volume, gain), Z)
    rows = slice(3, (n + 1) // 2)
    assert found[rows, :3].nanmean() == pytest.approx(0.25, abs=1e-3)
    assert float(found[rows, 3:].nan_to_num().max()) < 1e-10


def test_a_bin_is_the_sum_over_its_voxels() -> None:
    n, before, after = 12, noise(12, 1), noise(12, 2)
    axis = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -1.0]), dim=0)
    found = change.power_changed(before, after, axis, polar_bins=3)
    kz, ky, kx = (axis_.expand(n, n, n // 2 + 1) for axis_ in frequency_axes(n))
    angle = torch.rad2deg(
        ((kz * axis[0] + ky * axis[1] + kx * axis[2]).abs() / radius(n).clamp(min=0.5)).clamp(max=1).acos()
    )
    here = (shell_index(n) == 4) & (angle >= 30) & (angle < 60)
    weight = friedel_weights(n).expand(n, n, n // 2 + 1)[here]
    a, b = forward(after)[here], forward(before)[here]
    assert float(found[4, 1]) == pytest.approx(
        float(((a - b).abs() ** 2 * weight).sum() / (b.abs() ** 2 * weight).sum()), rel=1e-4
    )


def test_bins_without_voxels_are_nan() -> None:
    found = change.power_changed(noise(16), noise(16, 1), Z)
    assert bool(found[1].isnan().any())
    assert not bool(found[6].isnan().any())


def test_rms_difference_is_relative_to_the_map_inside_the_mask() -> None:
    volume, mask = noise(16), torch.zeros(16, 16, 16)
    mask[4:12, 4:12, 4:12] = 1.0
    outside = volume + 100.0 * (1 - mask)
    assert change.rms_difference(volume, outside, mask) == 0.0
    assert change.rms_difference(volume, volume + volume.std(correction=0)) == pytest.approx(1.0, rel=1e-4)
    assert change.rms_difference(volume, 1.1 * volume) == pytest.approx(
        0.1 * math.sqrt(1 + float(volume.mean() / volume.std()) ** 2), rel=1e-3
    )
    with pytest.raises(ValueError, match="constant"):
        change.rms_difference(torch.ones(4, 4, 4), torch.zeros(4, 4, 4))


def test_power_changed_in_a_region_counts_that_region_only() -> None:
    volume = noise(16)
    inside = polar_deg(16) < 30.0
    after = apply_filter(volume, torch.where(inside, 0.5, 1.0))
    assert change.power_changed_where(volume, after, inside & (shell_index(16) < 8)) == pytest.approx(0.25, abs=1e-3)
    assert change.power_changed_where(volume, after, ~inside & (shell_index(16) < 8)) < 1e-10
    assert math.isnan(change.power_changed_where(volume, after, torch.zeros_like(inside)))
