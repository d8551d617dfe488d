"""Images and volumes made smaller: against the definition of the transform, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryobridge.core.particles import downsampled_images, downsampled_volume


def _hartley(values: np.ndarray) -> np.ndarray:
    """By the definition, frequency 0 and position 0 at the centre of the box."""
    n = values.shape[-1]
    along = np.arange(n) - n // 2
    for axis in range(values.ndim):
        kernel = np.exp(-2j * np.pi * np.outer(along, along) / n)
        values = np.moveaxis(np.tensordot(kernel, values, axes=(1, axis)), 0, axis)
    return values.real - values.imag


@pytest.mark.parametrize(("n", "box"), [(12, 8), (12, 12), (10, 6), (16, 2)])
def test_an_image_is_the_crop_of_its_hartley_transform(n: int, box: int) -> None:
    image = np.random.default_rng(0).normal(size=(n, n))
    inside = slice(n // 2 - box // 2, n // 2 + box // 2)
    wanted = _hartley(_hartley(image)[inside, inside]) / box**2
    found = downsampled_images(torch.from_numpy(image[None]), box)
    assert np.allclose(found[0].numpy(), wanted, atol=1e-4)


def test_a_volume_is_the_crop_of_its_hartley_transform() -> None:
    volume = np.random.default_rng(0).normal(size=(8, 8, 8))
    wanted = _hartley(_hartley(volume)[2:6, 2:6, 2:6]) / 4**3
    assert np.allclose(downsampled_volume(torch.from_numpy(volume), 4).numpy(), wanted, atol=1e-4)


def test_what_is_band_limited_keeps_its_values_but_for_the_scale() -> None:
    x = torch.arange(16) * (2 * torch.pi / 16)
    wave = (2.0 + torch.cos(2 * x)[:, None] * torch.sin(3 * x)[None])[None]
    assert torch.allclose(downsampled_images(wave, 8), 4 * wave[:, ::2, ::2], atol=1e-5)


@pytest.mark.parametrize(("n", "box"), [(9, 4), (8, 5), (8, 10), (8, 0)])
def test_odd_and_larger_boxes_are_refused(n: int, box: int) -> None:
    with pytest.raises(ValueError, match="box"):
        downsampled_images(torch.zeros(1, n, n), box)
    with pytest.raises(ValueError, match="box"):
        downsampled_volume(torch.zeros(n, n, n), box)
