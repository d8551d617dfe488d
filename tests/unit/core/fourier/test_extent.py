"""Filters are found whatever their shape, and what was measured up to Nyquist is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryobridge.core.fourier import (
    apply_filter,
    fsc,
    last_held_shell,
    lowpass,
    lowpass_raised_cosine,
    radius,
    resolution_shell,
    shell_power,
)
from cryobridge.core.volume import soft_sphere

N = 48
MASK = soft_sphere(N, 12.0, 4.0)


def measured(seed: int) -> Tensor:
    """A particle to shell 19 of 24 in noise that is the same in all shells."""
    signal = lowpass(
        torch.randn((N,) * 3, generator=torch.Generator().manual_seed(0)) * soft_sphere(N, 11.0, 3.0), 1, 2.5
    )
    return 6 * signal + torch.randn((N,) * 3, generator=torch.Generator().manual_seed(seed))


def sharp(volume: Tensor) -> Tensor:
    return apply_filter(volume, (radius(N) <= 8.0).float())


def cosine(volume: Tensor) -> Tensor:
    return lowpass_raised_cosine(volume, 1.0, N / 7, width=4)


def gaussian(volume: Tensor) -> Tensor:
    return apply_filter(volume, torch.exp(-radius(N).square() / (2 * 3.5**2)))


def butterworth(volume: Tensor) -> Tensor:
    return apply_filter(volume, (1 + (radius(N) / 7) ** 20).rsqrt())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_measured_map_reaches_to_nyquist(seed: int) -> None:
    for scale, level in ((1.0, 0.0), (1e-4, 5.0), (1e6, -1e7)):
        volume = scale * measured(seed) + level
        assert last_held_shell(volume) == last_held_shell(volume, MASK) == N // 2


@pytest.mark.parametrize(
    ("filtered", "least", "most"), [(sharp, 8, 8), (cosine, 7, 9), (gaussian, 7, 15), (butterworth, 7, 13)]
)
def test_a_filter_of_any_shape_is_found_under_the_mask(filtered: object, least: int, most: int) -> None:
    assert callable(filtered)
    halves = [filtered(measured(seed)) for seed in (1, 2)]
    assert resolution_shell(fsc(*halves, MASK)) > most  # what the mask smears outwards agrees
    for half in halves:
        assert least <= last_held_shell(half, MASK) <= most


def test_a_sharp_end_is_found_without_a_mask() -> None:
    assert last_held_shell(sharp(measured(1))) == 8
    assert 7 <= last_held_shell(cosine(measured(1))) <= 9


def test_the_last_shells_may_be_empty() -> None:
    volume = apply_filter(measured(1), (radius(N) <= N // 2 - 2).float())
    assert last_held_shell(volume) == N // 2


def test_power_is_that_of_each_shell() -> None:
    power = shell_power(measured(1) + 100)
    assert power[0] == 0
    noise = float(power[-3:].mean()) / N**3
    assert noise == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("scale", [1e-15, 1e9])
def test_power_of_maps_of_any_scale_is_finite(scale: float) -> None:
    power = shell_power(torch.stack([measured(1), scale * measured(1)]))
    torch.testing.assert_close(power[1] / scale**2, power[0], rtol=1e-4, atol=0)
