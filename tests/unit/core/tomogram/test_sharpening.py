"""A B-factor: exp(B f^2 / 4), once, as far as halves agree, and noise beyond as it was."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cryobridge.core.tomogram import (
    Curve,
    SignalEvidence,
    Wedge,
    block_of,
    corrected,
    filtered,
    rejoined,
    sharpening,
    wiener,
)

SHAPE = (24, 16, 32)
B_PX2 = 30.0
BELIEVED = torch.where(torch.arange(32) < 16, 0.98, 0.0)
"""Halves that agree up to a quarter of a cycle per voxel."""
EVIDENCE = SignalEvidence(Curve(BELIEVED.double()), 1, 100.0, 10.0, bfactor_px2=B_PX2)


def distance() -> np.ndarray:
    kz, ky, kx = np.meshgrid(
        np.fft.fftfreq(SHAPE[0]), np.fft.fftfreq(SHAPE[1]), np.fft.rfftfreq(SHAPE[2]), indexing="ij"
    )
    return np.sqrt(kz**2 + ky**2 + kx**2)


def test_it_is_the_exponential_as_far_as_signal_is_believed_in_and_1_beyond() -> None:
    found, at = sharpening(SHAPE, B_PX2, 0.25).numpy(), distance()
    inside = at < 0.25
    np.testing.assert_allclose(found[inside], np.exp(B_PX2 * at[inside] ** 2 / 4), rtol=1e-5)
    np.testing.assert_allclose(found[at > 0.25 + 4 / 64], 1.0, rtol=1e-6)
    assert found.max() <= math.exp(B_PX2 * 0.3125**2 / 4)
    assert found.min() == 1.0


def test_where_halves_agree_to_the_end_so_does_it() -> None:
    found, at = sharpening(SHAPE, B_PX2, 0.5).numpy(), distance()
    np.testing.assert_allclose(found, np.exp(B_PX2 * np.minimum(at, 0.5) ** 2 / 4), rtol=1e-5)


def test_it_ends_where_halves_agree_by_less_than_a_third() -> None:
    assert EVIDENCE.believed_to == 0.25
    falling = torch.linspace(1, 0, 32, dtype=torch.float64)
    assert replace(EVIDENCE, agreement=Curve(falling)).believed_to == pytest.approx(21 / 64)


def wave(frequency: float) -> torch.Tensor:
    """Along x, which every tilt range measures; grey values of a file."""
    x = torch.arange(SHAPE[2], dtype=torch.float32)
    return (100 - 10 * torch.cos(2 * math.pi * frequency * x)).expand(SHAPE).clone()


def amplitude(volume: torch.Tensor, frequency: float) -> float:
    index = round(frequency * SHAPE[2])
    return 2 * float(torch.fft.rfftn(volume)[0, 0, index].abs()) / math.prod(SHAPE)


def gives_back(volumes: torch.Tensor) -> torch.Tensor:
    return volumes.expand(-1, 2, -1, -1, -1)


@pytest.mark.parametrize(("frequency", "raised"), [(0.125, math.exp(B_PX2 * 0.125**2 / 4)), (0.40625, 1.0)])
def test_blocks_and_results_are_sharpened_once(frequency: float, raised: float) -> None:
    grey = wave(frequency)
    block = block_of(grey, grey, Wedge.of_range(), EVIDENCE)
    assert amplitude(block.halves[0], frequency) == pytest.approx(raised, rel=1e-3)
    plain = replace(EVIDENCE, bfactor_px2=0.0)
    results = []
    for evidence in (EVIDENCE, plain):
        one = block_of(grey, grey, Wedge.of_range(), evidence)
        found = rejoined(corrected(gives_back, one, evidence), grey, grey, one, evidence)
        results.append((found, wiener(grey, grey, evidence)))
    (result, kept), (result_of_plain, kept_of_plain) = results
    for sharp, other in ((result, result_of_plain), (kept, kept_of_plain)):
        assert amplitude(sharp, frequency) == pytest.approx(raised * amplitude(other, frequency), rel=1e-2, abs=1e-3)
        assert float(sharp.mean()) == pytest.approx(100.0, abs=1e-3)


def test_noise_beyond_is_as_strong_as_before() -> None:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    beyond = torch.from_numpy((distance() > 0.32).astype(np.float32))
    before, after = (filtered(one, beyond).std() for one in (noise, EVIDENCE.signal(100 - 10 * noise)))
    assert float(after) == pytest.approx(float(before), rel=1e-4)
