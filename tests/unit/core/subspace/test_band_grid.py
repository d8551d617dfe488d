"""Sparse slices of several volumes: against the sampling of one volume, and their adjoint."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.particles import FourierGrid, half_disc, rotations_of_angles, slice_points
from cryobridge.core.subspace import BandGrid, SparseSlices

BOX, RADIUS = 16, 5.0


def points(count: int = 6) -> torch.Tensor:
    angles = 360 * torch.rand(count, 3, generator=torch.Generator().manual_seed(2))
    return slice_points(half_disc(BOX, RADIUS), rotations_of_angles(angles))


def volumes(count: int = 2) -> torch.Tensor:
    return torch.randn(count, BOX, BOX, BOX, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("padding", [1, 2])
def test_slices_are_those_of_each_volume_alone(padding: int):
    grid = BandGrid(BOX, RADIUS, padding)
    slices = SparseSlices(grid, points())
    found = slices.take(grid.table_of(volumes()))
    signs = torch.where(slices.flipped, -1.0, 1.0)
    for number, volume in enumerate(volumes()):
        wanted = FourierGrid.of(volume, padding).sample(points()).reshape(-1)
        assert torch.allclose(found[:, number], wanted.real, atol=2e-3)
        assert torch.allclose(found[:, 2 + number] * signs, wanted.imag, atol=2e-3)


def test_putting_back_is_the_adjoint_of_taking():
    grid = BandGrid(BOX, RADIUS)
    slices = SparseSlices(grid, points())
    generator = torch.Generator().manual_seed(4)
    table = torch.randn(len(grid), 3, generator=generator)
    values = torch.randn(len(slices.flipped), 3, generator=generator)
    taken = (slices.take(table).double() * values).sum()
    put = (table.double() * slices.put(values)).sum()
    assert float(taken) == pytest.approx(float(put), rel=1e-4)


def test_points_beyond_the_grid_give_and_take_nothing():
    grid = BandGrid(BOX, RADIUS)
    slices = SparseSlices(grid, torch.tensor([[40.0, 0.0, 0.0], [1.2, 0.0, 0.0]]))
    taken = slices.take(torch.ones(len(grid), 1))[:, 0]
    assert taken.tolist() == pytest.approx([0.0, 1.0])
    assert float(slices.put(torch.tensor([[1.0], [0.0]])).abs().sum()) == 0


def test_spectra_and_volumes_are_inverse_within_the_radius():
    grid = BandGrid(BOX, RADIUS)
    once = grid.volumes_of(grid.spectra_of(volumes()))
    assert torch.allclose(grid.volumes_of(grid.spectra_of(once)), once, atol=1e-4)
    full = torch.fft.fftn(once[0]).abs()
    axis = torch.fft.fftfreq(BOX, 1 / BOX)
    radius = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()
    assert float(full[radius > RADIUS].max()) < 1e-3 * float(full.max())


def test_a_factor_in_space_multiplies_the_volume():
    grid = BandGrid(BOX, RADIUS)
    table = grid.spectra_of(volumes(1))
    distance, _ = grid.coarse_radii("cpu")
    halved = grid.in_space(table, 0.5 * torch.ones_like(distance))
    assert torch.allclose(halved, 0.5 * table, atol=1e-3)
    kept = grid.volumes_of(grid.in_space(table, (distance < 0.2).float()))[0]
    assert float(kept[:2].abs().mean()) < 0.3 * float(kept[6:10, 6:10, 6:10].abs().mean())


def test_sums_over_the_half_grid_count_every_voxel_of_the_whole():
    grid = BandGrid(BOX, RADIUS)
    volume = grid.volumes_of(grid.spectra_of(volumes(1)))
    table = grid.spectra_of(volume)
    power = (table.square().sum(dim=1) * grid.weights("cpu")).sum() / BOX**3
    assert float(power) == pytest.approx(float(volume.square().sum()), rel=1e-4)
