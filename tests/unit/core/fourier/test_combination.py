"""Combining takes each shell from the map it should, on the grey scale of the high map."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.fourier import combination as combine
from cryobridge.core.fourier import filters, shells
from cryobridge.core.fourier import transforms as fourier
from cryobridge.core.fourier.correlation import fsc
from cryobridge.core.fourier.level import solvent_level
from cryobridge.core.volume import masks


def noise(n: int, seed: int) -> torch.Tensor:
    return torch.randn((n, n, n), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [20, 21])
def test_the_matched_map_has_the_amplitudes_of_the_other_and_its_own_phases(n: int) -> None:
    low = fourier.apply_filter(noise(n, 1), torch.exp(-0.2 * fourier.radius(n).double()))
    high = noise(n, 2) * 7.0
    ratio = shells.expand(combine.spectrum_ratio(low, high), n, rounding="floor")
    matched = fourier.apply_filter(low, ratio)
    ours, wanted = (
        shells.radial_mean(fourier.forward(volume).abs(), n, rounding="floor") for volume in (matched, high)
    )
    torch.testing.assert_close(ours, wanted)
    gain = fourier.forward(matched) / fourier.forward(low)
    assert gain.imag.abs().max() < 1e-9 * gain.real.max()
    assert gain.real.min() > -1e-9


def test_the_mask_shapes_the_estimate_only() -> None:
    low, high, mask = noise(16, 1), noise(16, 2), masks.soft_sphere(16, 4.0, 2.0).double()
    curve = combine.spectrum_ratio(low, high, mask)
    torch.testing.assert_close(
        curve, combine.spectrum_ratio(*((one - solvent_level(one, mask)) * mask for one in (low, high)))
    )
    assert (curve - combine.spectrum_ratio(low, high)).abs().max() > 1e-3


@pytest.mark.parametrize("n", [32, 33])
def test_low_shells_come_from_the_low_map_and_high_shells_from_the_high(n: int) -> None:
    low, high = noise(n, 3) * 1e-5 + 3.0, noise(n, 4) * 20.0 + 1.0
    out = combine.combine(low, high, 2.0, n * 2.0 / 10)
    torch.testing.assert_close(out.mean(), high.mean())
    torch.testing.assert_close(out.std(), high.std())
    assert fsc(out, low)[1:5].min() > 0.98
    torch.testing.assert_close(fsc(out, high)[10:], torch.ones(n // 2 - 9, dtype=torch.float64))


def test_a_map_combined_with_itself_is_itself_but_for_the_corners() -> None:
    volume = noise(24, 5)
    out = combine.combine(volume, volume, 1.0, 3.0)
    torch.testing.assert_close(out, volume, atol=1e-8, rtol=0)


@given(scale=st.floats(1e-9, 1e9), offset=st.floats(-100, 100))
@settings(max_examples=15, deadline=None)
def test_grey_scale_and_offset_of_the_low_map_do_not_matter(scale: float, offset: float) -> None:
    low, high = noise(12, 6), noise(12, 7)
    ours = combine.combine((low + offset) * scale, high, 1.0, 3.0)
    torch.testing.assert_close(ours, combine.combine(low, high, 1.0, 3.0), atol=1e-6, rtol=0)


def test_a_blank_low_map_leaves_the_high_shells_and_no_nan() -> None:
    high = noise(16, 8)
    out = combine.combine(torch.zeros_like(high), high, 1.0, 4.0)
    assert bool(torch.isfinite(out).all())
    ramp = 1.0 - shells.expand(filters.ramp_curve(16, 4.0, 5.0).double(), 16)
    expected = combine.rescale(fourier.apply_filter(high, ramp), high.mean(), high.std(correction=0))
    # The low part is constant: the mean of the high map's low shells.
    torch.testing.assert_close(out, expected)


def test_boxes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4, 4\).*\(5, 5, 5\)"):
        combine.combine(torch.zeros(4, 4, 4), torch.zeros(5, 5, 5), 1.0, 3.0)
