"""Noise models: they have the noise's spectrum, and only the half's own noise in independent mode."""

from __future__ import annotations

import torch

from cryobridge.core.correction.noise import pair_noise, solvent_noise
from cryobridge.core.fourier.transforms import apply_filter, forward, frequency_axes
from cryobridge.core.volume.masks import soft_sphere

N = 32


def _anisotropic() -> torch.Tensor:
    kz, _, _ = frequency_axes(N)
    return (1 + 3 * (kz.abs() > 6).float()).expand(N, N, N // 2 + 1)


def _noise(seed: int) -> torch.Tensor:
    return apply_filter(torch.randn(N, N, N, generator=torch.Generator().manual_seed(seed)), _anisotropic())


def test_difference_of_halves_has_the_power_of_one_and_no_signal() -> None:
    signal = 50 * soft_sphere(N, 8, 2)
    noise = pair_noise(signal + _noise(1), signal + _noise(2))
    assert abs(float(noise.std() / _noise(3).std()) - 1) < 0.05


def test_solvent_noise_has_the_anisotropy_and_power_of_the_solvent() -> None:
    mask = soft_sphere(N, 8, 3)
    half = 50 * soft_sphere(N, 5, 2) + _noise(1)
    noise = solvent_noise(half, mask, torch.Generator().manual_seed(5))
    assert noise is not None
    power, expected = forward(noise).abs().square(), forward(_noise(2)).abs().square()
    strong = _anisotropic() > 2
    for region in (strong, ~strong):
        assert abs(float(power[region].mean() / expected[region].mean()) - 1) < 0.2
    # New phases: it is another noise than that of the half itself.
    correlation = (noise * half * (1 - mask)).mean() / (noise.std() * (half * (1 - mask)).std())
    assert abs(float(correlation)) < 0.1


def test_no_solvent_no_noise() -> None:
    assert solvent_noise(_noise(1), torch.ones(N, N, N), torch.Generator().manual_seed(1)) is None
