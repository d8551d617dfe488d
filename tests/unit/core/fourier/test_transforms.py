"""Properties of the half-spectrum grids: Parseval, Friedel weights, resampling that keeps the centre."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.fourier import transforms as fourier

BOXES = st.integers(min_value=3, max_value=13)


def gaussian(n: int, sigma: float) -> torch.Tensor:
    """A blob about voxel n//2, narrow in neither space (so that it is band-limited)."""
    axis = torch.arange(n, dtype=torch.float64) - n // 2
    line = torch.exp(-(axis**2) / (2 * sigma**2))
    return line.view(n, 1, 1) * line.view(1, n, 1) * line.view(1, 1, n)


@given(n=BOXES, seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_parseval_holds_with_friedel_weights(n: int, seed: int) -> None:
    volume = torch.randn((n, n, n), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    power = fourier.forward(volume).abs().square() * fourier.friedel_weights(n, dtype=torch.float64)
    torch.testing.assert_close(power.sum() / n**3, volume.square().sum())


@given(n=BOXES, seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_inverse_undoes_forward_for_odd_and_even_boxes(n: int, seed: int) -> None:
    volume = torch.randn((2, n, n, n), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(fourier.inverse(fourier.forward(volume), n), volume)


@pytest.mark.parametrize("n", [8, 9])
def test_frequencies_and_radius_are_those_of_numpy(n: int) -> None:
    k = np.fft.fftfreq(n, 1 / n)
    kx = np.fft.rfftfreq(n, 1 / n)
    expected = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx[None, None, :] ** 2)
    np.testing.assert_allclose(fourier.radius(n).numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(fourier.squared_radius(n).numpy(), np.rint(expected**2))
    np.testing.assert_array_equal(fourier.frequency_axes(n)[0].ravel().numpy(), k)


@pytest.mark.parametrize(("m", "n"), [(24, 32), (24, 33), (25, 32), (25, 33), (33, 24), (33, 25), (32, 24), (32, 25)])
def test_resampling_a_band_limited_blob_keeps_it_at_the_centre_voxel(m: int, n: int) -> None:
    extent_m, extent_n = gaussian(m, 0.09 * m), gaussian(n, 0.09 * n)
    torch.testing.assert_close(fourier.resample(extent_m, n), extent_n, atol=5e-4, rtol=0)


def test_a_filter_of_ones_changes_nothing_and_of_zeros_removes_all() -> None:
    volume = torch.randn(2, 7, 7, 7)
    torch.testing.assert_close(fourier.apply_filter(volume, torch.ones(7, 7, 4)), volume)
    assert fourier.apply_filter(volume, torch.zeros(7, 7, 4)).abs().max() == 0.0


def test_shapes_that_do_not_fit_are_named_in_the_error() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4, 5\)"):
        fourier.forward(torch.zeros(4, 4, 5))
    with pytest.raises(ValueError, match=r"\(4, 4, 4\).*\(5, 5, 5\)"):
        fourier.check_same_box(torch.zeros(4, 4, 4), torch.zeros(5, 5, 5))
    with pytest.raises(ValueError, match=r"\(\.\.\., 5, 5, 3\).*\(4, 4, 3\)"):
        fourier.inverse(torch.zeros(4, 4, 3), 5)


@pytest.mark.parametrize("n", [6, 7])
def test_a_power_spectrum_is_unfolded_with_its_origin_in_the_middle_and_folded_back(n: int) -> None:
    volume = torch.randn(n, n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    half = fourier.forward(volume).abs().square()
    whole = fourier.centred_spectrum(half)
    torch.testing.assert_close(whole, torch.fft.fftshift(torch.fft.fftn(volume)).abs().square())
    torch.testing.assert_close(fourier.half_of_centred(whole), half)
