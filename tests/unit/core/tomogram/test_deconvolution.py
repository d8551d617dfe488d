"""The filter is the documented formula, contrast is kept, and chunks give what the whole gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cryobridge.core.tomogram import (
    DeconvolutionFilter,
    ctf_curve,
    deconvolution_blocks,
    deconvolution_weight,
    deconvolved,
    wiener_curve,
)

FILTER = DeconvolutionFilter(pixel_size_A=10.0, defocus_A=38000.0)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def by_formula(x: float, one: DeconvolutionFilter) -> float:
    """The curve at one place, written out with a wavelength from physical constants."""
    volt = one.voltage_kV * 1e3
    momentum = math.sqrt(
        2 * 9.1093837e-31 * 1.602176634e-19 * volt * (1 + 1.602176634e-19 * volt / (2 * 8.1871058e-14))
    )
    wavelength_A = 6.62607015e-34 / momentum * 1e10
    s = x / (2 * one.pixel_size_A)
    phase = math.pi * wavelength_A * s**2 * (one.defocus_A - one.cs_mm * 1e7 * wavelength_A**2 * s**2 / 2)
    phase += math.radians(one.phase_shift_deg) + math.asin(one.amplitude_contrast)
    ctf = abs(math.sin(phase)) if one.phase_flipped else math.sin(phase)
    highpass = 1 - math.cos(math.pi * min(1.0, x / one.highpass_nyquist))
    snr = math.exp(-100 * one.snr_falloff * x / one.pixel_size_A) * 10**one.strength * highpass + 1e-6
    return ctf / (ctf**2 + 1 / snr)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"phase_shift_deg": 90.0, "defocus_A": 5000.0},
        {"phase_flipped": True},
        {"strength": 3.0, "snr_falloff": 0.2, "highpass_nyquist": 0.1, "amplitude_contrast": 0.1},
        {"voltage_kV": 200.0, "cs_mm": 0.01, "pixel_size_A": 3.4},
    ],
)
def test_the_curve_is_the_documented_one(changed: dict[str, float]) -> None:
    one = DeconvolutionFilter(**{"pixel_size_A": 10.0, "defocus_A": 38000.0, **changed})  # type: ignore[arg-type]
    places = torch.linspace(0, 1, 101, dtype=torch.float64)
    wanted = [by_formula(float(x), one) for x in places]
    np.testing.assert_allclose(wiener_curve(one, places), wanted, rtol=2e-3, atol=2e-3 * max(wanted))


def test_contrast_is_kept_at_low_frequency() -> None:
    assert float(ctf_curve(FILTER, torch.tensor([0.0]))) == pytest.approx(0.07)
    assert float(ctf_curve(FILTER, torch.tensor([0.1]))) > 0.07


@pytest.mark.parametrize("shape", [(6, 7, 8), (5, 12, 9)])
def test_the_weight_is_the_curve_at_each_voxel(shape: tuple[int, int, int]) -> None:
    """Every axis by its own Nyquist, corners as Nyquist."""
    weight = deconvolution_weight(shape, FILTER)
    z, y, x = np.meshgrid(*(2 * np.abs(np.fft.fftfreq(size)) for size in shape), indexing="ij")
    distance = np.minimum(np.sqrt(z**2 + y**2 + x**2), 1.0)[..., : shape[2] // 2 + 1]
    wanted = wiener_curve(FILTER, torch.from_numpy(distance))
    np.testing.assert_allclose(weight, wanted, atol=2e-3 * float(wanted.max()))


def test_the_tomogram_keeps_its_mean_and_deviation_and_the_rest_is_the_filter() -> None:
    volume = 40 + 5 * noise(16, 20, 24)
    found = deconvolved(volume, FILTER)
    assert float(found.double().mean()) == pytest.approx(float(volume.double().mean()), abs=1e-4)
    assert float(found.double().std()) == pytest.approx(float(volume.double().std()), rel=1e-4)
    (block,) = deconvolution_blocks((16, 20, 24))
    before = [(-start, stop - size) for (start, stop), size in zip(block.read, (16, 20, 24), strict=True)]
    padded = np.pad(volume.double().numpy() - 40, before, mode="symmetric")
    frequencies = np.meshgrid(*(2 * np.abs(np.fft.fftfreq(size)) for size in padded.shape), indexing="ij")
    distance = torch.from_numpy(np.minimum(np.sqrt(sum(one**2 for one in frequencies)), 1.0))
    direct = np.fft.ifftn(np.fft.fftn(padded) * wiener_curve(FILTER, distance).numpy()).real[block.inside]
    kept = found.double().numpy() - found.double().numpy().mean()
    np.testing.assert_allclose(kept / kept.std(), (direct - direct.mean()) / direct.std(), atol=5e-3)


@pytest.mark.parametrize(("chunk", "overlap_rate"), [(60, 0.25), (50, 0.6), (40, 0.0)])
def test_chunks_have_the_gain_of_the_whole(chunk: int, overlap_rate: float) -> None:
    """Where every chunk is scaled to its own deviation, as is published, these differ by tens of percent."""
    shape = (48, 120, 120)
    volume = noise(*shape)
    volume[:, :60] *= 3.0  # a part with more contrast is to keep it
    whole, parts = deconvolved(volume, FILTER), deconvolved(volume, FILTER, chunk, overlap_rate)
    for block in deconvolution_blocks(shape, chunk, overlap_rate):
        z, y, x = (slice(*span) for span in block.kept)
        wanted = whole[z, y, x]
        gain = float((parts[z, y, x] * wanted).sum() / wanted.square().sum())
        assert gain == pytest.approx(1.0, abs=0.01)
        assert float((parts[z, y, x] - wanted).std() / wanted.std()) < 0.05


def test_no_border_between_chunks_is_seen() -> None:
    """The step across a border is that of the whole, to a hundredth or two of what the tomogram varies by."""
    volume = noise(40, 120, 120)
    off = deconvolved(volume, FILTER, 60) - deconvolved(volume, FILTER)
    for one, other in ((off[:, 59], off[:, 60]), (off[:, :, 59], off[:, :, 60])):
        assert float((one - other).square().mean().sqrt()) < 0.02
    assert float(off.abs().max()) < 0.1
