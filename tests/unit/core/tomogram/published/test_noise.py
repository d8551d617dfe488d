"""Noise volumes: their spectrum, their deviation, rows that know nothing of each other, and the schedule."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.tomogram import Wedge, published

SIDE = 48


def volumes(mode: published.NoiseMode, wedge: Wedge | None = None, count: int = 6) -> torch.Tensor:
    weight = published.noise_weight(mode, wedge or Wedge(), (SIDE, SIDE, SIDE))
    return published.noise_volumes(count, SIDE, weight, torch.Generator().manual_seed(1))


def sector_power(mode: published.NoiseMode) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean power by radius across the tilt axis, measured here from complex transforms, and the radii."""
    spectrum = torch.fft.fftn(volumes(mode).double(), dim=(1, 3)).abs().square().mean(dim=(0, 2))
    k = torch.fft.fftfreq(SIDE).double()
    kz, kx = torch.meshgrid(k, k, indexing="ij")
    radius = torch.hypot(kz, kx)
    inside = kz.abs() < kx.abs()
    radii = torch.arange(4, 20) / SIDE
    shells = [inside & ((radius - one).abs() < 0.5 / SIDE) for one in radii]
    return torch.stack([spectrum[shell].mean() for shell in shells]), radii


@pytest.mark.parametrize(("mode", "slope"), [("noFilter", -1.0), ("ramp", 1.0)])
def test_power_goes_with_the_radius(mode: published.NoiseMode, slope: float) -> None:
    power, radii = sector_power(mode)
    x, y = radii.log(), power.log()
    found = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert float(found) == pytest.approx(slope, abs=0.1)


def test_hammings_window_is_on_top_of_the_ramp() -> None:
    (ramp, radii), (hamming, _) = sector_power("ramp"), sector_power("hamming")
    window = (0.54 + 0.46 * torch.cos(2 * torch.pi * radii)).square()
    ratio = hamming / ramp
    torch.testing.assert_close(ratio / ratio[0], (window / window[0]).double(), rtol=0.1, atol=0.02)


def test_nothing_is_where_no_tilt_measured() -> None:
    wedge = Wedge.of_range(-40, 60)
    spectrum = torch.fft.rfftn(volumes("ramp", wedge), dim=(1, 3)).abs()
    kz = torch.fft.fftfreq(SIDE)[:, None]
    kx = torch.fft.rfftfreq(SIDE)[None]
    angle = torch.rad2deg(torch.atan2(kz, kx))
    missing = ((angle > 61) | (angle < -41)) & (kz.abs() < 0.45)
    assert float(spectrum[:, missing.nonzero()[:, 0], :, missing.nonzero()[:, 1]].max()) < 1e-3
    assert float(spectrum.max()) > 1


@pytest.mark.parametrize("mode", ["noFilter", "ramp", "hamming"])
def test_deviations_are_1_and_means_0(mode: published.NoiseMode) -> None:
    found = volumes(mode, count=3)
    torch.testing.assert_close(found.std(dim=(1, 2, 3)), torch.ones(3), rtol=1e-4, atol=0)
    assert float(found.mean(dim=(1, 2, 3)).abs().max()) < 1e-5


def test_rows_along_the_tilt_axis_are_independent() -> None:
    found = volumes("noFilter", count=1)[0]
    neighbours = (found[:, 1:] * found[:, :-1]).mean()
    assert abs(float(neighbours)) < 0.05


@pytest.mark.parametrize(
    ("iteration", "level"), [(1, 0.0), (10, 0.0), (11, 0.05), (15, 0.05), (16, 0.1), (25, 0.15), (26, 0.2), (99, 0.2)]
)
def test_the_level_follows_the_schedule(iteration: int, level: float) -> None:
    assert published.level_at(iteration, (0.05, 0.10, 0.15, 0.20), (11, 16, 21, 26)) == level
