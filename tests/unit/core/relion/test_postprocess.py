"""Sharpening undoes a fall-off that is known, weights by what is true, and says what it cannot do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.fourier import shells
from cryobridge.core.fourier import transforms as fourier
from cryobridge.core.fourier.correlation import fsc
from cryobridge.core.relion import postprocess
from cryobridge.core.volume import masks
from cryobridge.core.volume.phantom import phantom_pair

VOXEL_A = 1.5


def white(n: int, seed: int) -> torch.Tensor:
    return torch.randn((n, n, n), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blurred(n: int, b_factor_A2: float) -> torch.Tensor:
    """White noise blurred by a B-factor, computed from frequencies in 1/A."""
    kz, ky, kx = torch.meshgrid(
        torch.fft.fftfreq(n, VOXEL_A), torch.fft.fftfreq(n, VOXEL_A), torch.fft.rfftfreq(n, VOXEL_A), indexing="ij"
    )
    return fourier.apply_filter(white(n, 1), torch.exp(-b_factor_A2 / 4 * (kz**2 + ky**2 + kx**2)).double())


def mean_amplitudes(volume: torch.Tensor) -> torch.Tensor:
    n = volume.shape[-1]
    return shells.radial_mean(fourier.forward(volume).abs(), n)


@pytest.mark.parametrize("n", [40, 41])
def test_a_known_b_factor_is_found_and_undone(n: int) -> None:
    perfect = torch.ones(n // 2 + 1)
    done = postprocess.sharpen(blurred(n, 90.0), perfect, VOXEL_A, fit_from_A=15.0)
    assert done.b_factor_A2 == pytest.approx(-90.0, rel=0.03)
    assert done.guinier.line is not None
    assert done.guinier.line.r_squared > 0.99
    # Up to the low-pass at Nyquist the spectrum is that of the white noise again.
    ratio = mean_amplitudes(done.volume) / mean_amplitudes(white(n, 1))
    torch.testing.assert_close(ratio[1 : n // 2 - 1], torch.ones(n // 2 - 2).double(), atol=0.06, rtol=0)
    given_one = postprocess.sharpen(blurred(n, 90.0), perfect, VOXEL_A, b_factor_A2=-90.0)
    inner = mean_amplitudes(given_one.volume) / mean_amplitudes(white(n, 1))
    torch.testing.assert_close(inner[: n // 2 - 1], torch.ones(n // 2 - 1).double(), atol=1e-5, rtol=0)


def test_the_line_is_the_least_squares_line_over_its_range_with_both_ends() -> None:
    inverse_d2 = torch.linspace(0.0, 0.1, 21, dtype=torch.float64)
    log_amplitude = 3.0 - 12.0 * inverse_d2
    log_amplitude[:4] += 50.0
    log_amplitude[15:] = math.nan
    line = postprocess.fit_line(inverse_d2, log_amplitude, inverse_d2[4].item() ** -0.5, 2.0)
    assert (line.slope, line.intercept, line.r_squared) == pytest.approx((-12.0, 3.0, 1.0))
    with pytest.raises(ValueError, match=r"2 shells between 10 and 6\.90 A"):
        postprocess.fit_line(torch.tensor([0.01, 0.02, 0.03]), torch.zeros(3), 10.0, 6.9)


@pytest.mark.parametrize("with_mask", [True, False])
def test_a_flattened_spectrum_is_level_from_the_first_resolution_to_the_last(with_mask: bool) -> None:
    n = 48
    mask = masks.soft_sphere(n, 12.0, 6.0).double() if with_mask else None
    curve = torch.where(torch.arange(n // 2 + 1) > 18, 0.05, 0.9)
    start_A = n * VOXEL_A / 8
    done = postprocess.sharpen(blurred(n, 150.0), curve, VOXEL_A, sharpening="flatten", fit_from_A=start_A, mask=mask)
    assert done.b_factor_A2 is None
    assert done.resolution_A == pytest.approx(n * VOXEL_A / 18)
    level = mean_amplitudes(done.volume if mask is None else done.volume * mask)
    torch.testing.assert_close(level[8:17] / level[8], torch.ones(9).double(), atol=0.1 if with_mask else 1e-4, rtol=0)
    before = mean_amplitudes(blurred(n, 150.0))
    assert before[16] / before[8] < 0.6
    torch.testing.assert_close(
        mean_amplitudes(done.volume)[1:8] / before[1:8], torch.full((7,), math.sqrt(1.8 / 1.9)).double()
    )
    assert mean_amplitudes(done.volume)[21:].max() < 1e-4 * level[8]


def test_the_weights_are_the_correlation_of_the_average_with_the_truth() -> None:
    pair = phantom_pair(40, 2.0, 6.0, cone_deg=0.1, inside=1.0)
    weights = postprocess.fsc_weights(fsc(pair.half1, pair.half2))
    true = fsc((pair.half1 + pair.half2) / 2, pair.truth)
    used = slice(1, 12)
    assert float(true[used].min()) < 0.9
    torch.testing.assert_close(weights[used], true[used], atol=0.08, rtol=0)
    assert float((weights[used] - true[used]).mean().abs()) < 0.02


def test_nothing_is_kept_from_the_first_shell_without_signal_on() -> None:
    weights = postprocess.fsc_weights(torch.tensor([-1.0, 1.0, 0.5, 0.0, 0.7]))
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, math.sqrt(2 / 3), 0.0, 0.0]).double())


def test_weighting_and_low_pass_bring_the_map_closer_to_the_truth() -> None:
    pair = phantom_pair(40, 2.0, 6.0, cone_deg=0.1, inside=1.0)
    average = (pair.half1 + pair.half2) / 2
    agreed = postprocess.agreement(pair.half1, pair.half2, pair.mask)
    done = postprocess.sharpen(average, agreed.used, 2.0, sharpening="none")
    errors = [float(((volume - pair.truth) * pair.mask).norm()) for volume in (average, done.volume)]
    assert errors[1] < 0.8 * errors[0]


def test_a_mask_that_misses_the_particle_is_not_used() -> None:
    pair = phantom_pair(40, 2.0, 6.0, cone_deg=0.1, inside=1.0)
    beside = masks.soft_sphere(40, 6.0, 4.0).roll((20, 20, 20), (0, 1, 2))
    good, bad = (postprocess.agreement(pair.half1, pair.half2, mask) for mask in (pair.mask, beside))
    assert (good.mask_hurts, bad.mask_hurts) == (False, True)
    assert torch.equal(good.used, good.curves.corrected)
    assert torch.equal(bad.used, fsc(pair.half1, pair.half2))
    assert torch.equal(postprocess.agreement(pair.half1, pair.half2, None).used, bad.used)


@given(scale=st.floats(1e-6, 1e6))
@settings(max_examples=10, deadline=None)
def test_the_units_of_the_map_do_not_matter(scale: float) -> None:
    curve = torch.linspace(1.0, 0.05, 13)
    for sharpening in ("b_factor", "flatten"):
        one, other = (
            postprocess.sharpen(blurred(24, 60.0) * by, curve, VOXEL_A, sharpening=sharpening, fit_from_A=12.0)
            for by in (1.0, scale)
        )
        torch.testing.assert_close(other.volume / scale, one.volume, rtol=1e-6, atol=1e-9)


def test_maps_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="agree at no resolution"):
        postprocess.sharpen(white(16, 1), torch.tensor([1.0] + [0.1] * 8), VOXEL_A)


def test_a_range_too_short_to_level_is_refused() -> None:
    curve = torch.tensor([1.0, 0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match="2 shells between shell 2"):
        postprocess.sharpen(white(16, 1), curve, VOXEL_A, sharpening="flatten", fit_from_A=12.0)
