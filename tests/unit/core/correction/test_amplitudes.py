"""Amplitudes restored for looking at: nearer to the truth's, at the price of a larger error; never noise blown up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cryobridge.core.correction import amplitude_gain, restored_amplitudes
from cryobridge.core.directional import fsc3d
from cryobridge.core.fourier import forward, inverse, last_shell, radial_mean, shell_index
from cryobridge.core.volume import PhantomPair, cone_regions, phantom_pair

N, VOXEL_A, LIMIT_A = 48, 2.0, 5.5
LAST = last_shell(N, VOXEL_A, LIMIT_A)


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    return phantom_pair(N, VOXEL_A, LIMIT_A, cone_deg=40, inside=0.02)


@pytest.fixture(scope="module")
def measured(pair: PhantomPair) -> Tensor:
    return fsc3d(pair.half1, pair.half2, pair.mask, limit_shell=LAST, half_angle_deg=10.0).clamp(min=0)


def corrected(pair: PhantomPair, correlation: float, seed: int = 0) -> Tensor:
    """The best that a network of this correlation with the truth in the cone can make: least squared error."""
    truth = forward(pair.truth)
    generator = torch.Generator().manual_seed(seed)
    other = forward(torch.randn(N, N, N, generator=generator) * pair.mask)
    shell = shell_index(N).clamp(max=N // 2)
    size = [radial_mean(spectrum.abs().square(), N).sqrt()[shell].float() for spectrum in (truth, other)]
    wrong = other * (size[0] / size[1])
    guess = correlation * (correlation * truth + math.sqrt(1 - correlation**2) * wrong)
    mean = forward((pair.half1 + pair.half2) / 2)
    cone, _ = cone_regions(pair, guard_deg=0.0)
    return inverse(torch.where(cone, guess, mean), N)


def figures(pair: PhantomPair, volume: Tensor) -> tuple[float, float]:
    """Amplitude in the cone over the truth's there, and squared error there over the truth's power."""
    cone, _ = cone_regions(pair)
    shell = shell_index(N)
    here = cone & (shell >= 5) & (shell <= LAST - 3)
    truth, found = forward(pair.truth * pair.mask)[here], forward(volume * pair.mask)[here]
    power = float(truth.abs().square().sum())
    amplitude = math.sqrt(float(found.abs().square().sum()) / power)
    return amplitude, float((found - truth).abs().square().sum()) / power


@pytest.mark.parametrize("correlation", [0.5, 0.7])
def test_amplitudes_come_nearer_to_the_truth_and_the_honest_map_has_the_smaller_error(
    pair: PhantomPair, measured: Tensor, correlation: float
) -> None:
    honest = corrected(pair, correlation)
    display = restored_amplitudes(honest, pair.half1, pair.half2, measured, LAST, pair.mask)
    (before, honest_error), (after, display_error) = figures(pair, honest), figures(pair, display)
    assert abs(math.log(after)) < 0.6 * abs(math.log(before))
    assert honest_error < display_error


def test_where_next_to_nothing_is_there_nothing_is_raised(pair: PhantomPair, measured: Tensor) -> None:
    silent = corrected(pair, 0.01)
    display = restored_amplitudes(silent, pair.half1, pair.half2, measured, LAST, pair.mask)
    (before, _), (after, _) = figures(pair, silent), figures(pair, display)
    assert after < 1.3 * before


def test_nothing_is_changed_beyond_the_limit_nor_where_directions_are_measured_well(
    pair: PhantomPair, measured: Tensor
) -> None:
    gain = amplitude_gain(corrected(pair, 0.5), pair.half1, pair.half2, measured, LAST, pair.mask)
    _, outside = cone_regions(pair, guard_deg=25.0)
    assert bool((gain[shell_index(N) > LAST] == 1).all())
    assert float((gain[outside] - 1).abs().mean()) < 0.01
    assert float(gain.min()) >= 1
    assert float(gain.max()) <= 2.5


def test_halves_without_signal_raise_nothing(measured: Tensor) -> None:
    noise = phantom_pair(N, VOXEL_A, LIMIT_A, cone_deg=40, inside=0.02, signal=0.0)
    mean = (noise.half1 + noise.half2) / 2
    gain = amplitude_gain(mean, noise.half1, noise.half2, measured, LAST, noise.mask)
    assert float((gain - 1).abs().mean()) < 0.01
