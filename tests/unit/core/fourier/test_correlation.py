"""FSC equals a full-spectrum numpy evaluation and RELION's own program; the mask correction does what it promises."""

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

from cryobridge.core.fourier import correlation as fsc
from cryobridge.core.fourier import filters
from cryobridge.core.fourier.shells import shell_index
from cryobridge.core.fourier.transforms import forward
from cryobridge.core.volume import masks


def half_maps(n: int, seed: int, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two noisy copies of one smooth random map."""
    generator = torch.Generator().manual_seed(seed)
    signal = filters.lowpass(torch.randn((n, n, n), generator=generator), 1.0, 4.0) * 4.0
    noises = torch.randn((2, n, n, n), generator=generator) * noise
    return signal + noises[0], signal + noises[1]


def full_fsc(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """FSC over every voxel of the full float64 spectrum."""
    n = first.shape[0]
    k = np.fft.fftfreq(n, 1 / n)
    shell = np.rint(np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)).astype(int)
    f1, f2 = np.fft.fftn(first.astype(np.float64)), np.fft.fftn(second.astype(np.float64))

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell.ravel(), values.ravel())[: n // 2 + 1]

    return total((f1 * f2.conj()).real) / np.sqrt(total(np.abs(f1) ** 2) * total(np.abs(f2) ** 2))


@pytest.mark.parametrize("n", [16, 17, 24])
def test_fsc_is_the_full_spectrum_definition(n: int) -> None:
    first, second = half_maps(n, n)
    np.testing.assert_allclose(fsc.fsc(first, second).numpy(), full_fsc(first.numpy(), second.numpy()), atol=2e-6)
    mask = masks.soft_sphere(n, 0.25 * n, 3.0)
    levels = [float((volume * (1 - mask)).sum() / (1 - mask).sum()) for volume in (first, second)]
    on_zero = [(volume - level) * mask for volume, level in zip((first, second), levels, strict=True)]
    expected = full_fsc(*(volume.numpy() for volume in on_zero))
    np.testing.assert_allclose(fsc.fsc(first, second, mask).numpy(), expected, atol=2e-6)


@pytest.mark.relion
@pytest.mark.parametrize("n", [32, 33])
def test_stored_weighting_gives_the_numbers_of_relion_image_handler(n: int, tmp_path: Path) -> None:
    program = shutil.which("relion_image_handler")
    if program is None:
        pytest.skip("relion_image_handler is not installed")
    maps = half_maps(n, 5)
    for name, volume in zip("ab", maps, strict=True):
        mrcfile.write(tmp_path / f"{name}.mrc", volume.numpy(), voxel_size=1.5)
    command = [program, "--i", "a.mrc", "--fsc", "b.mrc", "--angpix", "1.5"]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in out.splitlines() if line.split() and line.split()[0].isdigit()]
    theirs = [float(row[-1]) for row in rows]
    assert len(theirs) == n // 2 + 1
    np.testing.assert_allclose(fsc.fsc(*maps, weighting="stored").numpy(), theirs, atol=1e-5)


@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_fsc_does_not_depend_on_the_units_of_either_map(scale: float, seed: int) -> None:
    first, second = half_maps(12, seed)
    torch.testing.assert_close(fsc.fsc(first * scale, second), fsc.fsc(first, second), atol=1e-5, rtol=0)


def test_a_map_correlates_with_itself_with_its_negative_and_with_nothing() -> None:
    volume = torch.randn(9, 9, 9)
    torch.testing.assert_close(fsc.fsc(volume, volume), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(fsc.fsc(volume, -volume), -torch.ones(5, dtype=torch.float64))
    assert fsc.fsc(volume, torch.zeros(9, 9, 9)).tolist() == [0.0] * 5


@pytest.mark.parametrize("n", [16, 17])
def test_phase_randomisation_keeps_amplitudes_and_low_shells_and_kills_correlation(n: int) -> None:
    volume, _ = half_maps(n, 1)
    random = fsc.phase_randomise(volume, 4, torch.Generator().manual_seed(3))
    before, after = forward(volume), forward(random)
    torch.testing.assert_close(after.abs(), before.abs(), rtol=1e-3, atol=1e-3)
    low = shell_index(n) < 4
    torch.testing.assert_close(after[low], before[low], rtol=1e-3, atol=1e-3)
    assert fsc.fsc(volume, random)[4:].abs().max() < 0.35
    again = fsc.phase_randomise(volume, 4, torch.Generator().manual_seed(3))
    torch.testing.assert_close(again, random, rtol=0, atol=0)
    assert not torch.equal(fsc.phase_randomise(volume, 4, torch.Generator().manual_seed(4)), random)


def test_the_correction_removes_the_correlation_a_tight_mask_makes_of_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    signal = filters.lowpass(torch.randn((40, 40, 40), generator=generator), 1.0, 5.0) * 6.0
    noise = torch.randn((2, 40, 40, 40), generator=generator) + 1.0
    mask = masks.soft_sphere(40, 6.0, 1.0)
    result = fsc.corrected_fsc(signal + noise[0], signal + noise[1], mask, seed=1)
    assert result.randomised_from is not None
    far = slice(result.randomised_from + 4, None)
    assert result.corrected[far].mean().abs() < result.masked[far].mean().abs() + 0.02
    assert result.corrected[far].abs().mean() < 0.2
    kept = slice(0, result.randomised_from + 2)
    assert torch.equal(result.corrected[kept], result.masked[kept])
    by_hand = (result.masked - result.randomised) / (1 - result.randomised)
    expected = torch.where(result.randomised > result.masked, 0.0, by_hand)[result.randomised_from + 2 :]
    torch.testing.assert_close(result.corrected[result.randomised_from + 2 :], expected)


def test_the_correction_is_seeded_and_leaves_identical_maps_alone() -> None:
    first, second = half_maps(20, 2, noise=2.0)
    mask = masks.soft_sphere(20, 6.0, 2.0)
    one, two = (fsc.corrected_fsc(first, second, mask, seed=7) for _ in range(2))
    assert torch.equal(one.corrected, two.corrected)
    same = fsc.corrected_fsc(first, first, mask, seed=7)
    assert same.randomised_from is None
    torch.testing.assert_close(same.corrected, torch.ones(11, dtype=torch.float64))


def test_resolution_is_that_of_the_last_shell_above_the_threshold() -> None:
    curve = torch.tensor([1.0, 0.9, 0.5, 0.2, 0.1, 0.3])
    assert fsc.resolution(curve, 2.0) == pytest.approx(10 * 2.0 / 3)
    assert fsc.resolution(curve, 2.0, box=11) == pytest.approx(11 * 2.0 / 3)
    assert fsc.resolution(curve, 2.0, 0.5) == pytest.approx(10 * 2.0 / 2)
    assert fsc.resolution(torch.ones(6), 2.0) == pytest.approx(4.0)
    assert fsc.resolution(torch.tensor([1.0, 0.0, 1.0]), 2.0) == float("inf")


def test_boxes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4, 4\).*\(5, 5, 5\)"):
        fsc.fsc(torch.zeros(4, 4, 4), torch.zeros(5, 5, 5))
    with pytest.raises(ValueError, match=r"\(4, 4, 4\).*\(5, 5, 5\)"):
        fsc.fsc(torch.zeros(4, 4, 4), torch.zeros(4, 4, 4), torch.zeros(5, 5, 5))


def falling(n: int, end: int) -> torch.Tensor:
    """A curve that is high and falls to 0 about a shell."""
    shell = torch.arange(n // 2 + 1, dtype=torch.float64)
    return torch.sigmoid((end - shell) / 1.5)


@pytest.mark.parametrize(("first", "last"), [(2, 2), (3, 4), (10, 10), (12, 13)])
def test_a_dip_is_passed_where_the_curve_recovers(first: int, last: int) -> None:
    curve = falling(64, 24)
    end = fsc.resolution_shell(curve)
    curve[first : last + 1] = -0.1
    assert fsc.dips(curve) == [(first, last)]
    assert fsc.resolution_shell(curve) == end
    assert fsc.resolution(curve, 2.0) == 64 * 2.0 / end


def test_two_dips_are_passed() -> None:
    curve = falling(64, 26)
    curve[[3, 12]] = 0.05
    assert fsc.dips(curve) == [(3, 3), (12, 12)]
    assert fsc.resolution_shell(curve) == fsc.resolution_shell(falling(64, 26))


def test_what_comes_back_for_a_shell_or_weakly_is_no_recovery() -> None:
    curve = falling(64, 8)
    end = fsc.resolution_shell(curve)
    for shells, value in (([12], 0.99), ([12, 13], 0.99), ([14, 15, 16, 17], 0.2), (list(range(20, 33)), 0.3)):
        again = curve.clone()
        again[shells] = value
        assert fsc.resolution_shell(again) == end, (shells, value)


def test_a_curve_below_from_the_first_shell_on_has_no_resolution() -> None:
    curve = torch.tensor([1.0, 0.1, *([0.9] * 15)], dtype=torch.float64)
    assert fsc.dips(curve) == []
    assert fsc.resolution_shell(curve) == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    end=st.integers(1, 7),
    reach=st.sampled_from([None, 0.3, 0.2, 0.15]),
    threshold=st.sampled_from([0.143, 0.5]),
)
def test_a_noisy_tail_is_never_taken_for_a_recovery(seed: int, end: int, reach: float | None, threshold: float) -> None:
    """Beyond the shells with signal, halves agree by chance only, more so under a small mask."""
    n = 24
    generator = torch.Generator().manual_seed(seed)
    signal = filters.lowpass(torch.randn((n, n, n), generator=generator), 1.0, n / end)
    noises = torch.randn((2, n, n, n), generator=generator)
    halves = [3 * signal / signal.std() + noise for noise in noises]
    mask = None if reach is None else masks.soft_sphere(n, reach * n, 3.0)
    spread = 1 if mask is None else 4
    assert all(last <= end + spread for _, last in fsc.dips(fsc.fsc(*halves, mask), threshold))


def test_phases_are_randomised_beyond_a_dip() -> None:
    first, second = half_maps(48, 3, noise=0.3)
    index = shell_index(48)
    spoilt = torch.randn((48,) * 3, generator=torch.Generator().manual_seed(9))
    second = second + filters.inverse(torch.where(index == 4, forward(spoilt) * 30, 0), 48)
    mask = masks.soft_sphere(48, 14.0, 5.0)
    found = fsc.corrected_fsc(first, second, mask, 0)
    assert float(found.unmasked[4]) < 0.5
    assert found.randomised_from == fsc.resolution_shell(found.unmasked, 0.8) + 1
    assert found.randomised_from is not None
    assert found.randomised_from > 5
