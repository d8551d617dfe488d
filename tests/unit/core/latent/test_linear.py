"""The linear model: volumes are sums, images are encoded to the latents they were made of, and it survives storing."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.latent import LinearModel, joined_scores, model_of
from cryobridge.core.particles import FourierGrid, half_disc, rotations_of_angles, slice_points
from cryobridge.core.subspace import BandGrid

BOX, RADIUS, NOISE = 16, 5.0, 0.01


@pytest.fixture(scope="module")
def model() -> LinearModel:
    generator = torch.Generator().manual_seed(1)
    grid = BandGrid(BOX, RADIUS)
    axis = torch.arange(BOX) - BOX // 2
    ball = ((axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2) < 20).float()
    table = grid.spectra_of(torch.randn(2, BOX, BOX, BOX, generator=generator) * ball)
    consensus = torch.randn(BOX, BOX, BOX, generator=generator) * ball
    return LinearModel(consensus, table, torch.tensor([1.0, 0.5]), torch.full((8,), NOISE), RADIUS, 3.0)


def test_volumes_are_the_consensus_and_so_much_of_each_component(model: LinearModel):
    z = torch.tensor([[0.0, 0.0], [2.0, -1.0]])
    found = model.volumes(z)
    assert torch.allclose(found[0], model.consensus, atol=1e-5)
    components = model.components()
    assert torch.allclose(found[1], model.consensus + 2 * components[0] - components[1], atol=1e-4)


def test_images_are_encoded_to_the_latents_they_were_made_of(model: LinearModel):
    generator = torch.Generator().manual_seed(2)
    disc = half_disc(BOX)
    rotations = rotations_of_angles(360 * torch.rand(8, 3, generator=generator)).float()
    z = torch.randn(8, 2, generator=generator)
    ctf = torch.rand(8, len(disc), generator=generator) - 0.5
    points = slice_points(disc, rotations)
    spectra = torch.stack([FourierGrid.of(v).sample(p) for v, p in zip(model.volumes(z), points, strict=True)]) * ctf
    mean, log_variance = model.encode(spectra, ctf, rotations)
    assert torch.allclose(mean, z, atol=0.02)
    assert (log_variance.exp() < 0.01).all()


def test_it_is_the_same_when_it_was_stored(model: LinearModel):
    again = model_of(*model.stored())
    z = torch.tensor([[0.3, -0.7]])
    assert isinstance(again, LinearModel)
    assert torch.equal(again.volumes(z), model.volumes(z))
    assert (again.zdim, again.box, again.voxel_size_A, again.radius) == (2, BOX, 3.0, RADIUS)


@pytest.mark.parametrize("name", ["consensus", "table", "prior_variance", "noise"])
def test_a_tensor_that_is_missing_is_named(model: LinearModel, name: str):
    tensors, description = model.stored()
    del tensors[name]
    with pytest.raises(ValueError, match=name):
        model_of(tensors, description)


def test_tensors_that_do_not_belong_together_are_refused(model: LinearModel):
    tensors, description = model.stored()
    with pytest.raises(ValueError, match="do not belong to 1 latents"):
        model_of(tensors | {"prior_variance": torch.ones(1)}, description)
    with pytest.raises(ValueError, match="noise of 3 shells"):
        model_of(tensors | {"noise": torch.ones(3)}, description)


def test_images_that_do_not_reach_far_enough_are_refused(model: LinearModel):
    with pytest.raises(ValueError, match="do not reach"):
        model.encode(torch.zeros(1, 3, dtype=torch.complex64), torch.zeros(1, 3), torch.eye(3)[None])


def test_scores_of_images_of_one_object_are_those_of_all_of_them_together() -> None:
    """One unknown seen through independent noise: the posterior of all observations at once, by its closed form."""
    draw = torch.Generator().manual_seed(0)
    prior, noise = torch.tensor([1.0, 0.25]), torch.rand(9, 2, generator=draw) + 0.5
    seen, object_of = torch.randn(9, 2, generator=draw), torch.tensor([0, 1, 0, 2, 1, 0, 0, 1, 0])
    variance = 1 / (1 / prior + 1 / noise)
    mean = variance * seen / noise
    found, spread = joined_scores(mean, variance.log(), prior, object_of)
    for one in range(3):
        of = object_of == one
        expected = (seen[of] / noise[of]).sum(dim=0) / (1 / prior + (1 / noise[of]).sum(dim=0))
        assert torch.allclose(found[of], expected.expand(int(of.sum()), 2), atol=1e-5)
        closed = 1 / (1 / prior + (1 / noise[of]).sum(dim=0))
        assert torch.allclose(spread[of].exp(), closed.expand(int(of.sum()), 2), atol=1e-5)
    assert torch.allclose(found[3], mean[3], atol=1e-5)
