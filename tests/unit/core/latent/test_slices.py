"""What a model says that images are, is its volumes' spectrum where their pixels lie."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryobridge.core.latent import CoordinateModel, FilmModel, FilmNetwork, FilmShape, LinearModel, whole_disc
from cryobridge.core.latent.published import NetworkShape, PublishedNetwork
from cryobridge.core.particles import half_disc, slice_points
from cryobridge.core.subspace import BandGrid

BOX, RADIUS, VOXEL_A = 16, 5.0, 2.0


def smooth(count: int) -> Tensor:
    """Blobs in the middle of the box, where sampling between voxels is exact."""
    generator = torch.Generator().manual_seed(1)
    axis = torch.arange(BOX) - BOX // 2
    places = 0.7 * torch.randn(count, 3, 1, generator=generator)
    x, y, z = (torch.exp(-((axis - places[:, one]) ** 2) / 2) for one in range(3))
    return torch.einsum("nz,ny,nx->nzyx", z, y, x)


def linear() -> LinearModel:
    grid = BandGrid(BOX, RADIUS)
    consensus, *components = smooth(3)
    table = grid.table_of(torch.stack(components))
    return LinearModel(consensus, table, torch.ones(2), torch.ones(int(RADIUS) + 2), RADIUS, VOXEL_A)


def film() -> FilmModel:
    network = FilmNetwork.new(
        FilmShape(2, 2, BOX, RADIUS, features=4, width=8, layers=1), smooth(1)[0, :4, 0, :3], 1.0, 0
    )
    torch.nn.init.normal_(network.decoder.last.weight, generator=torch.Generator().manual_seed(2))
    return FilmModel(network, linear())


def coordinate() -> CoordinateModel:
    shape = NetworkShape(
        box=BOX,
        zdim=2,
        encoder="none",
        encoder_layers=1,
        encoder_width=8,
        encoder_radius=3.0,
        decoder_layers=2,
        decoder_width=8,
        encoding="geom_lowf",
        encoding_count=4,
        feature_sigma=0.5,
        domain="fourier",
        activation="relu",
    )
    torch.manual_seed(3)
    network = PublishedNetwork(shape, whole_disc(BOX), torch.Generator().manual_seed(3))
    return CoordinateModel(network, VOXEL_A, norm=0.5, scale=2.0)


@pytest.mark.parametrize("make", [linear, film, coordinate])
def test_slices_are_of_the_volumes(make: type[LinearModel] | type[FilmModel] | type[CoordinateModel]) -> None:
    model = make()
    z = torch.tensor([[0.5, -1.0], [1.0, 0.25]])
    # Views along the axes see voxels of the spectrum as they are.
    turned = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    points = slice_points(half_disc(BOX, min(model.reach, BOX / 2 - 1)), torch.stack([torch.eye(3), turned]))
    found = model.slices(z, points)
    spectra = torch.fft.fftn(torch.fft.ifftshift(model.volumes(z), dim=(1, 2, 3)), dim=(1, 2, 3))
    x, y, depth = (points.round().long() % BOX).unbind(dim=2)
    wanted = torch.stack([spectrum[depth[one], y[one], x[one]] for one, spectrum in enumerate(spectra)])
    # Volumes of the published network are in the units of the images as they are stored.
    units = 1 / (model.norm * model.scale) if isinstance(model, CoordinateModel) else 1.0
    # In the plane kx = 0 a network of half of Fourier space has two values for one, and volumes their mean.
    told = points[..., 0].round() != 0
    difference = (found - wanted * units)[told].abs().max()
    assert float(difference) < 0.03 * float(wanted.abs().max()) * units
