"""Shells of volumes of any sides, against what is known of white noise, plane waves and identical volumes."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.tomogram import COUNT, CrossPower, Curve, radius, shares, shell_index, shell_means, summed


@pytest.mark.parametrize("shape", [(16, 24, 20), (17, 15, 13)])
def test_shells_count_every_voxel_of_the_whole_spectrum(shape: tuple[int, int, int]) -> None:
    counts = summed(shares(shape).expand(shell_index(shape).shape), shell_index(shape))
    kz, ky, kx = (torch.fft.fftfreq(n) for n in shape)
    distance = (kz[:, None, None] ** 2 + ky[None, :, None] ** 2 + kx[None, None, :] ** 2).sqrt()
    expected = torch.histc(distance[(distance > 0) & (distance < 0.5)].double(), COUNT, 0, 0.5)
    assert float(counts.sum()) == pytest.approx(float(expected.sum()), rel=0.01)
    # A radius on a shell's border falls to either side by rounding.
    assert float((counts - expected).abs().max()) <= 0.1 * float(expected.max())


def test_white_noise_has_equal_power_in_all_shells() -> None:
    shape = (64, 72, 56)
    spectrum = torch.fft.rfftn(torch.randn(shape, generator=torch.Generator().manual_seed(1)), norm="ortho")
    means = shell_means(spectrum.abs().square(), shape).values
    assert float((means[10:] - 1).abs().max()) < 0.1


def test_halves_with_noise_of_known_power_agree_as_theory_says() -> None:
    shape, generator = (48, 48, 48), torch.Generator().manual_seed(2)
    signal, *noise = (torch.randn(shape, generator=generator) for _ in range(3))
    sums = CrossPower.none()
    sums.add(*(torch.fft.rfftn(signal + 2 * one) for one in noise), shape)
    assert float(sums.correlation().values[6:].mean()) == pytest.approx(1 / (1 + 4), abs=0.02)


def test_sums_of_parts_are_added_up() -> None:
    shape, generator = (16, 16, 16), torch.Generator().manual_seed(3)
    volumes = [torch.fft.rfftn(torch.randn(shape, generator=generator)) for _ in range(4)]
    both, one, other = (CrossPower.none() for _ in range(3))
    for sums, pairs in ((both, (0, 2)), (one, (0,)), (other, (2,))):
        for first in pairs:
            sums.add(volumes[first], volumes[first + 1], shape)
    torch.testing.assert_close(both.cross, one.cross + other.cross)
    torch.testing.assert_close(both.first, one.first + other.first)


def test_a_curve_is_the_same_function_on_every_volume() -> None:
    curve = Curve((torch.arange(COUNT) + 0.5) / 64)
    for shape in ((16, 16, 16), (20, 12, 30)):
        distance = radius(shape)
        inside = (distance < 0.49) & (distance > 1 / 128)
        torch.testing.assert_close(curve.at(shape)[inside], distance[inside], atol=1e-5, rtol=0)
        assert float(curve.at(shape)[distance > 0.5].abs().sum()) == 0


def test_the_end_of_a_curve_is_where_it_stays_low() -> None:
    values = torch.ones(COUNT, dtype=torch.float64)
    assert Curve(values).last_above(0.5) == 0.5
    values[7] = 0
    assert Curve(values).last_above(0.5) == 0.5
    values[10:] = 0.1
    assert math.isclose(Curve(values).last_above(0.5), 10 / 64)
