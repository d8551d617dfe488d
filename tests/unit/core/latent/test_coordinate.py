"""The model of the published method: volumes, what is stored of it, what it refuses."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.latent import CoordinateModel, evaluation, half_spectrum_points, model_of, whole_disc
from cryobridge.core.latent.published import NetworkShape, PublishedNetwork, hartley_values
from cryobridge.core.particles import half_disc, image_spectra, rotations_of_angles, slice_points

BOX = 12


def model(encoder: str = "resid", zdim: int = 2, **numbers: float) -> CoordinateModel:
    torch.manual_seed(0)
    shape = NetworkShape.of_json(
        {
            **NetworkShape(BOX, zdim, "resid", 1, 8, BOX / 2, 1, 8, "geom_lowf", 4, 0.5, "fourier", "relu").as_json(),
            "encoder": encoder,
        }
    )
    network = PublishedNetwork(shape, whole_disc(BOX), torch.Generator())
    return CoordinateModel(network, 2.5, **numbers)  # type: ignore[arg-type]


def test_a_volume_has_the_spectrum_that_the_network_says():
    """Point by point, by the transform written out in double precision; scaled by the norm."""
    one, z = model(norm=3.0), torch.tensor([[0.4, -1.0]])
    volume = one.volumes(z)[0].double()
    axis = torch.arange(BOX).double() - BOX // 2
    points = torch.tensor([[1, 2, -3], [0, -4, -1], [3, -2, 0], [-2, 3, 2]]).double()
    x, y, w = (torch.exp(-2j * torch.pi / BOX * points[:, i : i + 1] * axis) for i in range(3))
    direct = torch.einsum("zyx,pz,py,px->p", volume.to(torch.complex128), w, y, x)
    said = one.network.decoder((points / BOX).float()[None], z)[0].double() * 3.0
    assert torch.allclose(torch.view_as_real(direct), said, atol=1e-4)


def test_a_projection_of_a_volume_is_what_was_learned_from():
    """A slice that the decoder gives is the spectrum of the volume's projection seen from there."""
    one, z = model(), torch.tensor([[0.4, -1.0]])
    disc = whole_disc(BOX)
    top = rotations_of_angles(torch.tensor([[0.0, 0.0, 0.0]]).double())
    projection = one.volumes(z)[0].sum(dim=0)[None]
    found = image_spectra(projection, disc)
    said = one.network.decoder(slice_points(disc, top) / BOX, z)[0]
    assert torch.allclose(torch.view_as_real(found)[0], said, atol=1e-4)


def test_volumes_in_steps_are_the_same_and_rest_after_every_piece(monkeypatch):
    monkeypatch.setattr(evaluation, "_CPU_PIECE_BYTES", 4 * 8 * 100)
    one, z = model(), torch.randn(2, 2)
    rests, steps = 0, one.volumes_in_steps(z)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        rests += 1
        assert torch.is_grad_enabled()  # nothing is switched off for whoever works in between
    assert torch.equal(found, one.volumes(z))
    assert rests == -(-len(half_spectrum_points(BOX, torch.device("cpu"))) // 100)


def test_what_is_stored_is_the_same_model():
    """Volumes and latents come out the same, whatever was learned beside the network."""
    one = model(norm=2.0, scale=0.5)
    other = model_of(*one.stored())
    z = torch.randn(2, 2)
    assert torch.equal(other.volumes(z), one.volumes(z))
    spectra = torch.randn(3, len(whole_disc(BOX)), dtype=torch.complex64)
    ctf, turned = torch.randn(3, len(whole_disc(BOX))), torch.eye(3).expand(3, 3, 3)
    assert isinstance(other, CoordinateModel)
    assert torch.equal(other.encode(spectra, ctf, turned)[0], one.encode(spectra, ctf, turned)[0])
    assert (other.name, other.zdim, other.box, other.voxel_size_A) == ("coordinate", 2, BOX, 2.5)


def test_spectra_of_a_narrower_band_are_filled_with_zeros():
    """As if there were nothing beyond it."""
    one = model()
    count = whole_disc(BOX).count_within(4.0)
    spectra = torch.randn(2, len(whole_disc(BOX)), dtype=torch.complex64)
    ctf, turned = torch.ones(2, spectra.shape[1]), torch.eye(3).expand(2, 3, 3)
    narrow = one.encode(spectra[:, :count], ctf[:, :count], turned)[0]
    spectra[:, count:] = 0
    assert torch.allclose(narrow, one.encode(spectra, ctf, turned)[0])
    assert hartley_values(torch.view_as_real(spectra)).abs().sum() > 0


@pytest.mark.parametrize("encoder", ["table", "none"])
def test_a_model_without_encoder_says_so(encoder: str):
    """New images have no latent then."""
    one = model(encoder)
    assert not one.encodes
    with pytest.raises(ValueError, match="no encoder of single images"):
        one.encode(torch.zeros(1, 4, dtype=torch.complex64), torch.zeros(1, 4), torch.eye(3)[None])


def test_a_model_of_one_volume_needs_no_latent():
    """Its latents have no numbers."""
    assert model("none", 0).volumes(torch.zeros(1, 0)).shape == (1, BOX, BOX, BOX)


def test_what_does_not_fit_is_refused():
    """A missing tensor, another shape, senseless numbers."""
    tensors, description = model().stored()
    name = "decoder.last.weight"
    with pytest.raises(ValueError, match="is missing"):
        model_of({key: value for key, value in tensors.items() if key != name}, description)
    with pytest.raises(ValueError, match="expected"):
        model_of({**tensors, name: torch.zeros(1)}, description)
    with pytest.raises(ValueError, match="not finite"):
        model_of({**tensors, name: torch.full_like(tensors[name], torch.nan)}, description)
    with pytest.raises(ValueError, match="above 0"):
        model_of(tensors, {**description, "norm": 0.0})


def test_the_radius_of_a_whole_disc_means_all_of_it() -> None:
    """Single precision rounds some of them down; images prepared to such a radius lacked a shell of the network's."""
    for box in range(16, 262, 2):
        disc = whole_disc(box)
        assert len(half_disc(box, float(disc.radii[-1]))) == len(disc)
