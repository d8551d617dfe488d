"""Another grid holds the same waves, and coming back changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryobridge.core.tomogram import axis_plan, resampled, resampled_by_plan

SHAPES = [((8, 9, 10), (12, 15, 11)), ((7, 8, 6), (8, 16, 13)), ((5, 6, 7), (10, 7, 8)), ((4, 4, 4), (4, 5, 9))]


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).standard_normal(shape)).float()


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_longer_and_shorter_again_changes_nothing(small: tuple[int, ...], large: tuple[int, ...]) -> None:
    volume = noise(*small)
    torch.testing.assert_close(resampled(resampled(volume, large), small), volume, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_a_wave_within_nyquist_is_that_wave_on_the_other_grid(small: tuple[int, ...], large: tuple[int, ...]) -> None:
    def wave(shape: tuple[int, ...]) -> torch.Tensor:
        z, y, x = (np.arange(size) / size for size in shape)
        turns = 1.0 * z[:, None, None] - 1.0 * y[:, None] + 1.0 * x
        return torch.from_numpy(2.5 + np.cos(2 * np.pi * turns + 0.4)).float()

    torch.testing.assert_close(resampled(wave(small), large), wave(large), rtol=0, atol=2e-6)
    torch.testing.assert_close(resampled(wave(large), small), wave(small), rtol=0, atol=2e-6)


def test_a_wave_beyond_the_new_nyquist_is_left_out() -> None:
    wave = torch.cos(2 * torch.pi * 7 * torch.arange(20) / 20).view(1, 1, 20).expand(4, 4, 20)
    assert float(resampled(wave, (4, 4, 10)).abs().max()) < 1e-5


def test_other_numbers_of_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="on a grid"):
        resampled(noise(4, 4, 4), (4, 4))


@pytest.mark.parametrize(("size", "ratio"), [(100, 2.0), (101, 1.5), (7, 0.5), (500, 1.3)])
def test_the_voxel_size_comes_out_as_is_wanted(size: int, ratio: float) -> None:
    plan = axis_plan(size, ratio)
    assert plan.ratio == pytest.approx(ratio, rel=1e-9)
    assert plan.kept == round(size / ratio) <= plan.new
    assert 16 <= plan.padded - size <= 48
    assert axis_plan(size, 1.0).kept == axis_plan(size, 1.0).padded == size


@pytest.mark.parametrize("ratio", [2.0, 1.5, 0.6])
def test_a_slope_is_the_same_slope_up_to_its_ends(ratio: float) -> None:
    """For a transform alone its two ends would be neighbours, and ring."""

    def slope(places: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(((places - 150) / 40) ** 2)) + 0.004 * places

    plan = axis_plan(200, ratio)
    found = resampled_by_plan(slope(torch.arange(200.0)).view(1, 200, 1), 1, plan)[0, :, 0]
    wanted = slope(ratio * torch.arange(plan.kept))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.02)
    torch.testing.assert_close(found[12:-12], wanted[12:-12], rtol=0, atol=1e-3)
