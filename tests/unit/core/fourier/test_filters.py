"""Filters have exactly the gains their formulas say, for odd and even boxes, and equal RELION's low-pass."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.fourier import filters, shells
from cryobridge.core.fourier import transforms as fourier


def gain_of(filtered: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
    """Complex gain per half-spectrum voxel."""
    return fourier.forward(filtered) / fourier.forward(volume)


@pytest.mark.parametrize(("cutoff", "edge"), [(8.0, 3.0), (7.6, 5.0), (100.0, 3.0), (2.5, 5.0)])
def test_the_ramp_is_one_then_linear_then_zero(cutoff: float, edge: float) -> None:
    curve = filters.ramp_curve(24, cutoff, edge)
    for shell in range(13):
        expected = 1.0 if shell < cutoff - edge else max(0.0, (cutoff - shell) / (edge + 1))
        assert curve[shell] == pytest.approx(expected)


@pytest.mark.parametrize("n", [16, 17])
def test_lowpass_applies_the_ramp_in_every_voxel_and_clears_the_corners(n: int) -> None:
    volume = torch.randn((n, n, n), generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    resolution = n * 1.3 / 6.2
    gain = gain_of(filters.lowpass(volume, 1.3, resolution), volume)
    expected = shells.expand(filters.ramp_curve(n, 6.2, 3.0).double(), n)
    torch.testing.assert_close(gain.real, expected, atol=1e-6, rtol=0)
    assert gain.imag.abs().max() < 1e-9


@given(scale=st.floats(1e-6, 1e6), n=st.integers(5, 12))
@settings(max_examples=15, deadline=None)
def test_lowpass_is_linear_in_the_units_of_the_map(scale: float, n: int) -> None:
    volume = torch.randn((n, n, n), generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    ours = filters.lowpass(volume * scale, 1.0, 3.0)
    torch.testing.assert_close(ours, filters.lowpass(volume, 1.0, 3.0) * scale)


def test_a_raised_cosine_is_one_half_at_its_centre() -> None:
    volume = torch.randn((20, 20, 20), dtype=torch.float64)
    gain = gain_of(filters.lowpass_raised_cosine(volume, 1.0, 20 / 6), volume).real
    assert gain[0, 0, 6] == pytest.approx(0.5, abs=1e-6)
    assert gain[0, 0, 5] == pytest.approx(1.0, abs=1e-6)
    assert gain[0, 0, 7] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.relion
@pytest.mark.parametrize("n", [32, 33])
def test_the_raised_cosine_is_relions_own_lowpass(n: int, tmp_path: Path) -> None:
    program = shutil.which("relion_image_handler")
    if program is None:
        pytest.skip("relion_image_handler is not installed")
    volume = torch.randn((n, n, n), generator=torch.Generator().manual_seed(1))
    mrcfile.write(tmp_path / "a.mrc", volume.numpy(), voxel_size=1.5)
    command = [program, "--i", "a.mrc", "--o", "b.mrc", "--lowpass", "6", "--angpix", "1.5"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    ours = filters.lowpass_raised_cosine(volume, 1.5, 6.0).numpy()
    np.testing.assert_allclose(ours, mrcfile.read(tmp_path / "b.mrc"), atol=2e-6)


@pytest.mark.parametrize("n", [12, 13])
def test_fsc_weighting_multiplies_by_the_floor_binned_mean_without_negatives(n: int) -> None:
    volume = torch.randn((n, n, n), dtype=torch.float64)
    curve = torch.linspace(1.0, -0.5, n // 2 + 1, dtype=torch.float64)
    weighted = filters.fsc_weight(volume, shells.expand(curve, n, rounding="floor"))
    expected = shells.expand(curve.clamp(min=0), n, rounding="floor")
    torch.testing.assert_close(gain_of(weighted, volume).real, expected, atol=1e-9, rtol=0)


def test_the_square_root_form_is_the_correlation_with_the_truth() -> None:
    volume = shells.expand(torch.tensor([1.0, 0.5, 0.0, -1.0]), 6, rounding="floor")
    curve = filters.fsc_weight_curve(volume, 6, form="sqrt")
    expected = torch.tensor([1.0, (2 / 3) ** 0.5, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(curve, expected)


def test_a_curve_reaches_the_corners_with_the_value_for_beyond() -> None:
    volume = torch.randn((8, 8, 8), dtype=torch.float64)
    ones = torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(fourier.apply_filter(volume, shells.expand(ones, 8, beyond=1.0)), volume)
    gain = gain_of(fourier.apply_filter(volume, shells.expand(ones, 8)), volume).real
    torch.testing.assert_close(gain, (shells.shell_index(8) <= 4).double(), atol=1e-9, rtol=0)
