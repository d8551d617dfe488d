"""Whitening levels what it says, touches nothing else, and does not care about units."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.fourier import filters, shells, whitening
from cryobridge.core.fourier import transforms as fourier
from cryobridge.core.fourier.level import solvent_level
from cryobridge.core.volume import masks


def falling_map(n: int, seed: int = 0) -> torch.Tensor:
    """White noise under a steep fall-off, float64."""
    noise = torch.randn((n, n, n), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return fourier.apply_filter(noise, torch.exp(-0.3 * fourier.radius(n).double()))


@pytest.mark.parametrize("n", [24, 25])
def test_the_radial_spectrum_is_level_within_the_band_and_untouched_elsewhere(n: int) -> None:
    volume = falling_map(n)
    # Shells 3.6 -> 3 and 9.6 -> 9: the band is 4 to 8.
    white = whitening.whiten(volume, 1.0, n / 3.6, n / 9.6)
    before = shells.radial_mean(fourier.forward(volume).abs(), n)
    after = shells.radial_mean(fourier.forward(white).abs(), n)
    torch.testing.assert_close(after[4:9], before[3].expand(5))
    torch.testing.assert_close(after[:4], before[:4])
    torch.testing.assert_close(after[9:], before[9:])
    corner = shells.shell_index(n) > n // 2
    torch.testing.assert_close(fourier.forward(white)[corner], fourier.forward(volume)[corner])


@given(scale=st.floats(1e-12, 1e12))
@settings(max_examples=15, deadline=None)
def test_whitening_scales_with_the_map(scale: float) -> None:
    volume = falling_map(16)
    ours = whitening.whiten(volume * scale, 1.0, 8.0, 2.5) / scale
    torch.testing.assert_close(ours, whitening.whiten(volume, 1.0, 8.0, 2.5))


def test_the_mask_shapes_the_estimate_only() -> None:
    volume = falling_map(20)
    mask = masks.soft_sphere(20, 5.0, 2.0).double()
    curve = whitening.whitening_curve(volume, 1.0, 10.0, 2.5, mask)
    amplitude = shells.radial_mean(fourier.forward((volume - solvent_level(volume, mask)) * mask).abs(), 20)
    torch.testing.assert_close(curve[3:8], amplitude[2] / amplitude[3:8])
    ours = whitening.whiten(volume, 1.0, 10.0, 2.5, mask)
    torch.testing.assert_close(ours, fourier.apply_filter(volume, shells.expand(curve, 20, beyond=1.0)))


def test_empty_shells_and_empty_maps_stay_finite() -> None:
    assert whitening.whiten(torch.zeros(8, 8, 8), 1.0, 6.0, 2.5).abs().max() == 0.0
    volume = filters.lowpass(falling_map(16), 1.0, 4.0)
    assert bool(torch.isfinite(whitening.whiten(volume, 1.0, 8.0, 2.0)).all())


def test_a_band_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(ValueError, match="coarser"):
        whitening.whiten(torch.zeros(8, 8, 8), 1.0, 3.0, 10.0)
    with pytest.raises(ValueError, match="no Fourier voxels"):
        whitening.angular_whiten(torch.zeros(8, 8, 8), 1.0, 3.0, 10.0)


@pytest.mark.parametrize("n", [40, 41])
def test_angular_whitening_removes_a_known_dependence_on_direction(n: int) -> None:
    noise = torch.randn((n, n, n), generator=torch.Generator().manual_seed(2))
    kz, _, _ = fourier.frequency_axes(n)
    tilt = (kz / fourier.radius(n).clamp(min=1e-6)) ** 2
    known = 1.0 - 0.8 * tilt
    volume = fourier.apply_filter(noise, known)
    distance = fourier.radius(n)
    band = (distance >= 6) & (distance <= 18)
    gain = whitening.angular_gain(fourier.forward(volume).abs(), n, band, half_angle_deg=8.0)
    level = (gain * known)[band]
    assert level.std() / level.mean() < 0.06
    assert bool((gain[~band] == 1.0).all())


def test_angular_whitening_keeps_the_power_of_the_band_and_the_rest_as_it_is() -> None:
    n = 32
    volume = falling_map(n).float()
    ours = whitening.angular_whiten(volume, 1.0, n / 5.0, n / 12.0)
    distance = fourier.radius(n)
    band = (distance >= 5) & (distance <= 12)
    before, after = fourier.forward(volume), fourier.forward(ours)
    torch.testing.assert_close(after[~band], before[~band], atol=1e-3, rtol=1e-4)
    power = [(s.abs().square() * fourier.friedel_weights(n) * band).sum() for s in (before, after)]
    torch.testing.assert_close(power[0], power[1], rtol=1e-4, atol=0)
    scaled = whitening.angular_whiten(volume * 1e-6, 1.0, n / 5.0, n / 12.0) * 1e6
    torch.testing.assert_close(scaled, ours, rtol=1e-3, atol=1e-4)


def test_an_empty_cone_is_raised_by_the_largest_gain_and_no_more() -> None:
    n = 32
    kz, _, _ = fourier.frequency_axes(n)
    distance = fourier.radius(n)
    cone = kz.abs() > 0.8 * distance
    amplitude = torch.where(cone, 1e-6, 1.0)
    band = (distance >= 4) & (distance <= 15)
    gain = whitening.angular_gain(amplitude, n, band, largest_gain=4.0)
    assert float(gain.max()) == 4.0
    assert bool((gain[band & (kz.abs() < 0.6 * distance)] < 1.0).all())
