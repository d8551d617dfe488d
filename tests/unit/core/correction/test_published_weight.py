"""The weight of the published method: its place in Fourier space, its range, what it means for badly measured parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from cryobridge.core.correction import filtered, published_weight
from cryobridge.core.fourier import centred_spectrum, frequency_axes, half_of_centred, radius
from cryobridge.core.volume import resampled_weight


def noise_spectrum(n: int, mean: float) -> torch.Tensor:
    values = torch.randn(n, n, n, generator=torch.Generator().manual_seed(n))
    return half_of_centred(0.3 * values + mean).clamp(-1, 1)


def read_along_an_axis(n: int, side: int) -> NDArray[np.float64]:
    """The matrix (side, n) of a Gaussian blur and a linear read at (i + 1/2) n / side - 1/2."""
    deviation = (n / side - 1) / 2
    blur = np.eye(n) if deviation == 0 else ndimage.gaussian_filter1d(np.eye(n), deviation, axis=0, mode="mirror")
    places = (np.arange(side) + 0.5) * n / side - 0.5
    return np.array([[max(0.0, 1 - abs(place - voxel)) for voxel in range(n)] for place in places]) @ blur


@pytest.mark.parametrize(("n", "side"), [(32, 16), (40, 16), (33, 8), (16, 16)])
def test_the_weight_is_the_real_part_of_a_spectrum_resized_as_a_picture(n: int, side: int) -> None:
    fsc3d = noise_spectrum(n, 0.1)
    along = read_along_an_axis(n, side)
    small = np.einsum("az,by,cx,zyx->abc", along, along, along, centred_spectrum(fsc3d).double().numpy())
    small = np.maximum(small, 0)
    small = np.fft.ifftshift((small - small.min()) / (small.max() - small.min()))
    volume = torch.randn(side, side, side, generator=torch.Generator().manual_seed(1))
    expected = np.fft.ifftn(np.fft.fftn(volume.double().numpy()) * small).real
    found = filtered(volume, published_weight(fsc3d, side))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_the_weight_is_blurred_along_one_diagonal_of_the_box_only() -> None:
    n, side = 64, 32

    def contrast(sign: int, *, published: bool) -> float:
        z, y, x = frequency_axes(n)
        plane = (z + y + sign * x == 0).float().expand(n, n, n // 2 + 1)
        weight = published_weight(plane, side) if published else resampled_weight(plane, n, side)
        return float(weight[4, -4, 0] - weight[4, -4, 2])

    assert contrast(1, published=False) == pytest.approx(contrast(-1, published=False), rel=1e-4)
    assert contrast(1, published=True) < 0.8 * contrast(-1, published=True)


def test_the_lowest_shells_of_a_missing_cone_count_for_more_than_in_their_place() -> None:
    n, side = 64, 32
    kz = frequency_axes(n)[0].abs() / radius(n).clamp(min=0.5)
    fsc3d = ((kz < np.cos(np.deg2rad(40))) & (radius(n) < 24)).float()
    distance = radius(side)
    cone = (frequency_axes(side)[0].abs() / distance.clamp(min=0.5) > np.cos(np.deg2rad(25))) & (distance < 5)
    low = cone & (distance > 1)
    published, in_place = published_weight(fsc3d, side), resampled_weight(fsc3d, n, side)
    assert float(published[low].mean()) > 1.5 * float(in_place[low].mean())


def test_the_weight_goes_from_nothing_to_one_and_the_centre_counts_in_full() -> None:
    fsc3d = torch.where(radius(48) < 6, 0.4, noise_spectrum(48, 0.1) * 0.3) * (radius(48) < 20)
    weight = published_weight(fsc3d, 16)
    assert float(weight.min()) == 0
    assert float(weight.max()) == pytest.approx(1, abs=1e-2)
    assert float(weight[0, 0, 0]) == pytest.approx(1, abs=1e-2)


def test_what_has_no_range_is_not_stretched() -> None:
    torch.testing.assert_close(published_weight(torch.full((24, 24, 13), 0.5), 8), torch.full((8, 8, 5), 0.5))
