"""Slices of a volume's spectrum, against sums over atoms and the adjoint."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cryobridge.core.particles import (
    FourierGrid,
    SliceSums,
    half_disc,
    image_spectra,
    images_of,
    rotations_of_angles,
    shifted,
    slice_points,
    volume_of_grid,
)

BOX = 32
SIGMA = 1.6


def atoms() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(40, 3, generator=generator, dtype=torch.float64) - 0.5) * 14


def blobs(places: Tensor, box: int = BOX, sigma: float = SIGMA) -> Tensor:
    """Gaussians at (K, d) in x, y(, z), on a grid with the origin at box / 2; the last axis is x."""
    axis = torch.arange(box, dtype=torch.float64) - box / 2
    parts = [torch.exp(-((axis - places[:, i, None]) ** 2) / (2 * sigma**2)) for i in range(places.shape[1])]
    letters = "xyz"[: places.shape[1]]
    return torch.einsum(",".join(f"k{one}" for one in letters) + "->" + letters[::-1], *parts)


def angles(count: int = 5) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 360 - 180


def test_a_slice_is_the_spectrum_of_the_projection() -> None:
    """The projection is a sum over atoms: no interpolation, no code of ours."""
    rotations, places = rotations_of_angles(angles()), atoms()
    disc = half_disc(BOX, 10)
    grid = FourierGrid.of(blobs(places))
    found = grid.sample(slice_points(disc, rotations))
    seen = [blobs((places @ rotation.T)[:, :2]) * SIGMA * math.sqrt(2 * math.pi) for rotation in rotations]
    wanted = image_spectra(torch.stack(seen), disc)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 2e-2
    wrong = image_spectra(torch.stack([image.T for image in seen]), disc)
    assert float((found - wrong).abs().max() / wanted.abs().max()) > 0.1


def test_a_shift_recentres_what_lies_off_the_centre() -> None:
    flat = atoms()[:, :2]
    disc = half_disc(BOX, 12)
    off = image_spectra(blobs(flat - torch.tensor([2.5, -1.25]))[None], disc)
    back = shifted(off, disc, torch.tensor([[2.5, -1.25]]))
    wanted = image_spectra(blobs(flat)[None], disc)
    assert float((back - wanted).abs().max() / wanted.abs().max()) < 1e-4


def test_images_come_back_from_their_spectra() -> None:
    image = blobs(atoms()[:, :2])[None].float()
    disc = half_disc(BOX)
    back = images_of(image_spectra(image, disc), disc)
    assert torch.allclose(back, image - image.mean(), atol=2e-3 * float(image.max()))


def test_a_smaller_box_is_a_crop_of_the_spectrum() -> None:
    """Band-limited images look the same on a coarser grid, but for the factor that is documented."""
    places = atoms()[:, :2]
    small = half_disc(BOX // 2)
    smooth, disc = blobs(places, 2 * BOX, 5.0), half_disc(BOX)
    found = images_of(image_spectra(smooth[None], disc), disc)[0]
    direct = smooth[::2, ::2]
    assert float(torch.corrcoef(torch.stack([found.flatten(), direct.flatten().float()]))[0, 1]) > 0.999
    assert float(found.std() / direct.std()) == pytest.approx(4.0, rel=0.01)
    with pytest.raises(ValueError, match="have no spectrum"):
        image_spectra(torch.zeros(1, 8, 8), small)


def test_insertion_is_the_adjoint_of_sampling() -> None:
    """<sample(V), a> = <V, insert(a)>, with the plane kx = 0 counted once."""
    generator = torch.Generator().manual_seed(5)
    disc = half_disc(BOX, 13)
    points = slice_points(disc, rotations_of_angles(angles(3)))
    values = torch.randn(3, len(disc), 2, generator=generator)
    spectrum = torch.fft.rfftn(torch.randn(BOX, BOX, BOX, generator=generator))
    sampled = FourierGrid(spectrum, BOX).sample(points)
    sums = SliceSums(BOX, channels=2)
    sums.add(points, values, odd=1)
    real, imaginary = sums.grid(odd=1)
    product = spectrum.real * real + spectrum.imag * imaginary
    product[:, :, 0] *= 0.5
    wanted = (sampled.real * values[..., 0] + sampled.imag * values[..., 1]).sum()
    assert float(product.sum()) == pytest.approx(float(wanted), rel=1e-3)


def test_many_projections_make_the_volume_again() -> None:
    tilts = torch.rad2deg(torch.acos(2 * torch.rand(600, generator=torch.Generator().manual_seed(4)) - 1))
    rotations = rotations_of_angles(torch.stack([torch.arange(600) * 137.5, tilts, torch.zeros(600)], dim=1))
    places = atoms()
    disc = half_disc(BOX, 14)
    values = FourierGrid.of(blobs(places)).sample(slice_points(disc, rotations))
    weighted = torch.stack([values.real, values.imag, torch.ones_like(values.real)], dim=-1)
    sums = SliceSums(BOX)
    sums.add(slice_points(disc, rotations), weighted, odd=1)
    real, imaginary, weight = sums.grid(odd=1)
    made = volume_of_grid(torch.complex(real, imaginary) / weight.clamp_min(1e-3), BOX)
    both = torch.stack([made.flatten(), blobs(places).flatten().float()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.99


@pytest.mark.parametrize(("side", "box"), [(24, 24), (25, 20), (15, 14)])
@pytest.mark.parametrize("together", [1, 3, 7])
def test_bits_of_a_spectrum_do_not_depend_on_which_others_are_prepared_with_it(
    side: int, box: int, together: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    disc = half_disc(box)
    images = torch.randn(50, side, side, generator=generator)
    shifts = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    parts = [slice(first, first + together) for first in range(0, 50, together)]
    some = [shifted(image_spectra(images[part], disc), disc, shifts[part]) for part in parts]
    assert torch.equal(torch.cat(some), shifted(image_spectra(images, disc), disc, shifts))
