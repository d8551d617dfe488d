"""Fourier cropping against plane waves and the way back."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.tomogram import cropped, reduced, restored


@pytest.mark.parametrize(("shape", "factor"), [((32, 48, 64), 2), ((48, 24, 72), 3), ((32, 32, 32), 1)])
def test_a_wave_below_the_new_nyquist_is_the_same_wave_on_fewer_voxels(
    shape: tuple[int, int, int], factor: int
) -> None:
    def wave(sides: tuple[int, int, int]) -> torch.Tensor:
        z, y, x = (torch.arange(n) / n for n in sides)
        return torch.cos(2 * torch.pi * (z[:, None, None] - 2 * y[None, :, None] + 3 * x[None, None, :]) + 0.3)

    small = reduced(shape, factor)
    found = torch.fft.irfftn(cropped(torch.fft.rfftn(wave(shape)), shape, factor), s=small)
    torch.testing.assert_close(found, wave(small), atol=1e-5, rtol=0)


def test_what_was_cropped_comes_back_as_it_was_and_nothing_beyond_it() -> None:
    shape, generator = (32, 48, 40), torch.Generator().manual_seed(1)
    small = reduced(shape, 2)
    kept = cropped(torch.fft.rfftn(torch.randn(shape, generator=generator)), shape, 2)
    back = torch.fft.rfftn(torch.fft.irfftn(restored(kept, shape, 2), s=shape))
    torch.testing.assert_close(cropped(back, shape, 2), kept, atol=1e-4, rtol=0)
    assert float(back.abs().square().sum() - restored(kept, shape, 2).abs().square().sum()) == pytest.approx(0, abs=1)
    assert small == (16, 24, 20)


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="divide by 4"):
        reduced((32, 34, 32), 2)
