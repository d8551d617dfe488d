"""The FiLM decoder: where its features lie, what it is before training, that its volumes are real."""

from __future__ import annotations

import torch

from cryobridge.core.latent import FilmDecoder, FilmModel, FilmNetwork, FilmShape, LinearModel, feature_places, model_of
from cryobridge.core.latent.mode_mixing import ModeMixing
from cryobridge.core.subspace import BandGrid
from cryobridge.core.training import generator_at

BOX, RADIUS = 16, 4.0
SHAPE = FilmShape(zdim=2, modes=2, box=BOX, radius=RADIUS, features=12, width=16, layers=2, encoder_width=8)


def ball() -> torch.Tensor:
    """A ball of radius 3 around (x, y, z) = (1, -2, 0) voxels from the centre."""
    axis = torch.arange(BOX).float() - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return (((x - 1) ** 2 + (y + 2) ** 2 + z**2) <= 9).float()


def linear() -> LinearModel:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(len(BandGrid(BOX, RADIUS)), 4, generator=generator)
    return LinearModel(ball(), table, torch.tensor([1.0, 0.5]), torch.ones(8), RADIUS, 3.0)


def trained() -> FilmModel:
    """A model whose decoder gives something."""
    network = FilmNetwork.new(SHAPE, feature_places(ball(), 12, generator_at(0)), 2.0, seed=1)
    with torch.no_grad():
        network.decoder.last.weight.normal_(generator=torch.Generator().manual_seed(2))
    return FilmModel(network, linear())


def test_features_lie_where_the_particle_is() -> None:
    places = feature_places(ball(), 400, generator_at(3))
    assert torch.allclose(places.mean(dim=0), torch.tensor([1.0, -2.0, 0.0]), atol=0.4)
    assert float((places - torch.tensor([1.0, -2.0, 0.0])).norm(dim=1).median()) < 5


def test_features_of_a_map_without_density_lie_anywhere() -> None:
    places = feature_places(torch.zeros(BOX, BOX, BOX), 500, generator_at(3))
    assert float(places.abs().max()) > 6


def test_an_untrained_network_is_the_linear_model() -> None:
    network = FilmNetwork.new(SHAPE, feature_places(ball(), 12, generator_at(0)), 2.0, seed=1)
    z = torch.randn(2, 2)
    assert torch.allclose(FilmModel(network, linear()).volumes(z), linear().volumes(z), atol=1e-5)


def test_numbers_beyond_the_modes_begin_without_effect() -> None:
    mixing = ModeMixing(3, 2, 8)
    z = torch.randn(4, 3)
    assert torch.equal(mixing(z), z[:, :2])
    assert torch.equal(ModeMixing(1, 2, 8)(z[:, :1]), torch.stack([z[:, 0], torch.zeros(4)], dim=1))


def test_a_point_and_its_mate_are_conjugates() -> None:
    decoder = trained().network.decoder
    points = torch.randn(1, 20, 3)
    here, there = (decoder(torch.ones(1, 2), sign * points) for sign in (1, -1))
    assert torch.allclose(here, there * torch.tensor([1.0, -1.0]), atol=1e-6)
    assert float(here.detach().std()) > 0.1


def test_a_volume_has_the_coefficients_that_the_decoder_gives_and_none_beyond_the_band() -> None:
    model, z = trained(), torch.tensor([[0.5, -1.0]])
    deviation = model.volumes(z)[0] - linear().volumes(z)[0]
    spectrum = torch.fft.fftn(torch.fft.ifftshift(deviation))
    points = torch.tensor([[2.0, -1.0, 3.0], [1.0, 2.0, -2.0]])
    with torch.no_grad():
        expected = torch.view_as_complex(model.network.decoder(z, points[None])[0].contiguous())
    found = torch.stack([spectrum[int(z_), int(y), int(x)] for x, y, z_ in points])
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3)
    axis = torch.fft.fftfreq(BOX, 1 / BOX)
    far = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2 > RADIUS**2
    assert float(spectrum[far].abs().max()) < 1e-3


def test_a_stored_model_opens_to_the_same_volumes_and_latents() -> None:
    model, scores = trained(), torch.randn(5, 2)
    tensors, description = model.stored()
    again = model_of(tensors, description)
    assert isinstance(again, FilmModel)
    z = torch.randn(3, 2)
    assert torch.equal(again.volumes(z), model.volumes(z))
    assert all(torch.equal(*pair) for pair in zip(again.of_scores(scores), model.of_scores(scores), strict=True))
    assert (again.zdim, again.box, again.voxel_size_A) == (2, BOX, 3.0)


def test_features_in_the_centre_alone_give_a_flat_spectrum() -> None:
    decoder = FilmDecoder(torch.zeros(3, 3), BOX, 1, 1.0, width=8, layers=1)
    with torch.no_grad():
        decoder.last.weight.fill_(1.0)
    far, near = decoder(torch.ones(1, 1), torch.tensor([[[1.0, 0.0, 0.0], [3.0, 2.0, 1.0]]]))[0].detach()
    # All features lie in the centre: the spectrum of a point there is the same everywhere.
    assert torch.allclose(far, near)


def test_a_volume_is_the_same_bits_beside_any_others_and_each_is_followed_by_a_rest() -> None:
    """Of the linear model as well, since jobs decode as many together as there is time for."""
    for model, zdim in ((trained(), 2), (linear(), linear().zdim)):
        z = torch.randn(3, zdim, generator=torch.Generator().manual_seed(5))
        steps, rests = model.volumes_in_steps(z), 0
        while True:
            try:
                next(steps)
                rests += 1
            except StopIteration as end:
                together = end.value
                break
        assert rests == 3
        for number in range(3):
            assert torch.equal(model.volumes(z[number : number + 1])[0], together[number])
