"""Shell sums equal sums over the full numpy spectrum; means and expansion undo each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cryobridge.core.fourier import shells
from cryobridge.core.fourier import transforms as fourier
from cryobridge.core.fourier.shells import Rounding

BOXES = st.integers(min_value=3, max_value=14)


def full_shells(n: int, rounding: str) -> np.ndarray:
    """Shell of every voxel of the full, unshifted numpy spectrum."""
    k = np.fft.fftfreq(n, 1 / n)
    root = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    return (np.rint(root) if rounding == "nearest" else np.floor(root + 1e-9)).astype(int)


@pytest.mark.parametrize("rounding", ["nearest", "floor"])
@pytest.mark.parametrize("n", [8, 9, 14, 15])
def test_radial_sums_are_the_sums_over_the_full_spectrum(n: int, rounding: Rounding) -> None:
    volume = np.random.default_rng(n).normal(size=(n, n, n))
    power = np.abs(np.fft.fftn(volume)) ** 2
    expected = np.bincount(full_shells(n, rounding).ravel(), power.ravel())[: n // 2 + 1]
    ours = shells.radial_sum(fourier.forward(torch.from_numpy(volume)).abs().square(), n, rounding=rounding)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12)
    counts = np.bincount(full_shells(n, rounding).ravel())[: n // 2 + 1]
    np.testing.assert_array_equal(shells.shell_counts(n, rounding=rounding).numpy(), counts)


@given(n=BOXES, rounding=st.sampled_from(["nearest", "floor"]), seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_the_mean_of_an_expanded_curve_is_the_curve(n: int, rounding: Rounding, seed: int) -> None:
    curve = torch.rand(n // 2 + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    volume = shells.expand(curve, n, rounding=rounding)
    torch.testing.assert_close(shells.radial_mean(volume, n, rounding=rounding), curve)


def test_stored_weighting_counts_every_stored_voxel_once() -> None:
    ones = torch.ones(2, 2, 2)
    assert shells.radial_sum(ones, 2, weighting="stored").tolist() == [1.0, 6.0]
    assert shells.radial_sum(ones, 2, weighting="friedel").tolist() == [1.0, 6.0]
    stored = shells.radial_sum(torch.ones(3, 3, 2), 3, weighting="stored")
    assert stored.tolist() == [1.0, 8.0 + 5.0]


def test_corners_get_the_value_for_beyond() -> None:
    volume = shells.expand(torch.zeros(5), 8, beyond=7.0)
    corner = shells.shell_index(8) > 4
    assert bool((volume[corner] == 7.0).all())
    assert bool((volume[~corner] == 0.0).all())


def test_float32_sums_do_not_lose_small_terms() -> None:
    values = torch.full((64, 64, 33), 1.0)
    values[0, 0, 0] = 1e8
    assert shells.radial_sum(values, 64, rounding="floor")[1] == shells.shell_counts(64, rounding="floor")[1]
    assert shells.radial_sum(values + 0.1, 64).sum() > 1e8


def test_wrong_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="5 shells"):
        shells.expand(torch.zeros(4), 8)
    with pytest.raises(ValueError, match="real"):
        shells.radial_sum(torch.zeros(4, 4, 3, dtype=torch.complex64), 4)
    with pytest.raises(ValueError, match="rounding"):
        shells.shell_index(4, rounding="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive"):
        shells.shell_of_resolution(4, 0.0, 10.0)
    assert shells.shell_of_resolution(100, 1.5, 10.0) == 15.0


@given(
    n=st.integers(8, 700),
    voxel_size_A=st.floats(0.3, 30.0),
    at=st.floats(0, 1),
    stored=st.sampled_from([float, np.float32]),
    digits=st.sampled_from([4, 6, 16]),
)
@settings(max_examples=400, deadline=None)
def test_a_resolution_read_off_a_shell_gives_back_that_shell(
    n: int, voxel_size_A: float, at: float, stored: type, digits: int
) -> None:
    shell = 1 + round(at * ((n - 1) // 2 - 1))
    resolution_A = n * voxel_size_A / shell
    assume(digits > 4 or resolution_A > 3)
    read_A, voxel_A = round(float(stored(resolution_A)), digits), float(stored(voxel_size_A))
    assert shells.shell_of_resolution(n, voxel_A, read_A) == shell
    assert shells.last_shell(n, voxel_A, read_A) == shell
    assert shells.limit_shell(n, voxel_A, read_A) == shell + 1


@given(n=st.integers(8, 700), voxel_size_A=st.floats(0.3, 30.0), radius=st.floats(1, 500))
@settings(max_examples=200, deadline=None)
def test_the_last_shell_is_the_whole_part_of_any_other_radius(n: int, voxel_size_A: float, radius: float) -> None:
    assume(abs(radius - round(radius)) > 1e-3 * radius)
    last = shells.last_shell(n, voxel_size_A, n * voxel_size_A / radius)
    assert last == min(int(radius), (n - 1) // 2)


@pytest.mark.parametrize("n", [16, 17])
def test_a_limit_finer_than_the_grid_is_the_last_shell_that_it_holds_whole(n: int) -> None:
    last = (n - 1) // 2
    for limit_A in (2.0, 1.0, 1e-3):
        assert shells.last_shell(n, 1.0, limit_A) == last
        within = shells.within_limit(n, 1.0, limit_A)
        assert torch.equal(within > 0, shells.shell_index(n) <= last)
