"""The published network: symmetry of its spectra, encoders of every sort, what is learned beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from cryobridge.core.latent import whole_disc
from cryobridge.core.latent.published import (
    Activation,
    CoordinateDecoder,
    Domain,
    EncoderKind,
    LearnedRows,
    NetworkShape,
    PoseTable,
    PublishedNetwork,
    hartley_values,
    quaternions_of,
    rotations_of_quaternions,
    rotations_of_s2s2,
    s2s2_of,
    spectra_of_hartley,
)
from cryobridge.core.particles import image_spectra, rotations_of_angles, shifted

BOX = 16
SHAPE = NetworkShape(BOX, 2, "resid", 1, 16, BOX / 2, 1, 16, "gaussian", 4, 0.5, "fourier", "relu", 3, 1, 16, 8)


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    angles = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 180
    return rotations_of_angles(angles.double())


def network(encoder: EncoderKind = "resid", domain: Domain = "fourier", **beside: nn.Module) -> PublishedNetwork:
    torch.manual_seed(0)
    shape = replace(SHAPE, encoder=encoder, domain=domain)
    return PublishedNetwork(shape, whole_disc(BOX), torch.Generator().manual_seed(1), **beside)  # type: ignore[arg-type]


def inputs(images: int = 1, count: int = 4) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    pixels = len(whole_disc(BOX))
    return (
        torch.randn(count, images, pixels, 2, generator=generator),
        torch.randn(count, images, pixels, generator=generator),
        rotations(count * images).float().view(count, images, 3, 3),
        torch.arange(count * images).view(count, images),
        torch.arange(count),
        torch.randn(count, 2, generator=generator),
        torch.ones(count, dtype=torch.bool),
    )


def test_hartley_values_go_there_and_back():
    """They are those of the transform written out: cosines and sines added."""
    images = torch.randn(2, BOX, BOX)
    disc = whole_disc(BOX)
    spectra = torch.view_as_real(image_spectra(images, disc))
    found = hartley_values(spectra)
    x, y = torch.meshgrid(torch.arange(BOX) - BOX // 2, torch.arange(BOX) - BOX // 2, indexing="xy")
    both = torch.cat([disc.points, -disc.points]).float()
    phase = 2 * torch.pi / BOX * (both[:, 0, None, None] * x + both[:, 1, None, None] * y)
    direct = torch.einsum("nyx,kyx->nk", images, torch.cos(phase) + torch.sin(phase))
    assert torch.allclose(found, direct, atol=1e-3)
    assert torch.allclose(spectra_of_hartley(found), spectra, atol=1e-4)


@pytest.mark.parametrize("domain", ["fourier", "hartley"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_a_decoded_spectrum_is_that_of_a_real_volume(domain: Domain, activation: Activation):
    """Values at Friedel mates are conjugates, though half of them are never worked out."""
    shape = replace(SHAPE, domain=domain, activation=activation)
    decoder = CoordinateDecoder(shape, torch.Generator())
    points = torch.rand(1, 50, 3) - 0.5
    z = torch.randn(3, 2)
    here, mate = decoder(points, z), decoder(-points, z)
    assert here.shape == (3, 50, 2)
    assert torch.allclose(here[..., 0], mate[..., 0], atol=1e-6)
    assert torch.allclose(here[..., 1], -mate[..., 1], atol=1e-6)
    assert float(here[..., 1].detach().abs().mean()) > 1e-3


def test_the_divided_first_layer_is_one_layer_on_features_and_latent():
    """What it saves is time alone."""
    decoder = CoordinateDecoder(SHAPE, torch.Generator())
    points, z = -torch.rand(2, 9, 3), torch.randn(2, 2)
    features = torch.cat([decoder.encoding(points), z[:, None].expand(2, 9, 2)], dim=-1)
    assert decoder.of_latent is not None
    weight = torch.cat([decoder.of_position.weight, decoder.of_latent.weight], dim=1)
    first = torch.relu(features @ weight.T + decoder.of_position.bias)
    expected = decoder.last(decoder.hidden(first))
    assert torch.allclose(decoder.values(points, z), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "images"), [("resid", 1), ("mlp", 1), ("conv", 1), ("tilt", 2), ("series", 3), ("none", 1)]
)
def test_every_encoder_gives_a_latent_an_object_and_an_image_each(encoder: EncoderKind, images: int):
    """And every weight of it gets a gradient."""
    one = network(encoder)
    predicted, seen, mean, log_variance = one(*inputs(images))
    assert predicted.shape == seen.shape == (4, images, len(whole_disc(BOX)), 2)
    assert mean.shape == log_variance.shape == (4, 2)
    if one.encoder is not None:
        ((predicted - seen) ** 2).mean().backward()
        assert all(value.grad is not None and bool(value.grad.abs().sum() > 0) for value in one.encoder.parameters())


def test_a_small_radius_hides_pixels_from_the_encoder():
    """Pixels beyond it change nothing."""
    torch.manual_seed(0)
    one = PublishedNetwork(replace(SHAPE, encoder_radius=4.0), whole_disc(BOX), torch.Generator())
    spectra, ctf = inputs()[:2]
    other = spectra.clone()
    count = whole_disc(BOX).count_within(4.0)
    other[:, :, count:] += 1
    assert torch.equal(one.encode(spectra, ctf)[0], one.encode(other, ctf)[0])
    other[:, :, count - 1] += 1
    assert not torch.equal(one.encode(spectra, ctf)[0], one.encode(other, ctf)[0])


def test_an_encoder_is_spared_the_sign_of_the_ctf():
    """Flipped phases are set right before it looks."""
    one = network()
    spectra, ctf = inputs()[:2]
    assert torch.allclose(one.encode(spectra, ctf)[0], one.encode(-spectra, -ctf)[0])


def test_convolutions_learn_to_tell_images_apart():
    """An encoder in real space finds which of two blobs an image shows."""
    torch.manual_seed(0)
    shape = replace(SHAPE, encoder="conv", encoder_width=4)
    disc = whole_disc(BOX)
    one = PublishedNetwork(shape, disc, torch.Generator())
    which = torch.arange(24) % 2
    images = 0.3 * torch.randn(24, BOX, BOX)
    images[which == 1, 6:9, 6:9] += 2
    spectra = torch.view_as_real(image_spectra(images, disc) / BOX)[:, None]
    ctf = torch.ones(24, 1, len(disc))
    optimiser = torch.optim.Adam(one.parameters(), 3e-3)
    for _ in range(25):
        optimiser.zero_grad()
        mean, _ = one.encode(spectra, ctf)
        nn.functional.binary_cross_entropy_with_logits(mean[:, 0], which.float()).backward()
        optimiser.step()
    mean, _ = one.encode(spectra, ctf)
    assert bool(((mean[:, 0] > 0).long() == which).all())


@pytest.mark.parametrize("kind", ["s2s2", "quat"])
def test_embedded_rotations_are_what_they_were(kind: str):
    """Also half turns, and whatever the numbers' lengths."""
    turned = torch.cat([rotations(20), torch.diag(torch.tensor([1.0, -1, -1])).double()[None]])
    if kind == "s2s2":
        found = rotations_of_s2s2(3 * s2s2_of(turned))
    else:
        found = rotations_of_quaternions(-2 * quaternions_of(turned))
    assert torch.allclose(found, turned, atol=1e-9)


@pytest.mark.parametrize("kind", ["s2s2", "quat"])
def test_wrong_poses_are_learned_back(kind: str):
    """The gradient leads from a small error towards the truth, and rows that were not seen stay."""
    truth = rotations(6)
    off = rotations_of_angles(torch.tensor([[0.0, 3.0, 0.0]]).double())
    table = PoseTable(off @ truth, kind, 3e-3)
    members, learns = torch.arange(5), torch.ones(5, dtype=torch.bool)
    before = table.all()[0]
    for _ in range(40):
        found, shifts = table(members, learns)
        (((found - truth[:5].float()) ** 2).sum() + ((shifts - 0.05) ** 2).sum()).backward()
    after, shifts = table.all()
    assert float((after[:5] - truth[:5]).norm()) < 0.3 * float((before[:5] - truth[:5]).norm())
    assert torch.equal(after[5], before[5])
    assert torch.allclose(shifts[:5], torch.tensor(0.05), atol=0.02)
    assert torch.allclose(after @ after.mT, torch.eye(3).expand(6, 3, 3), atol=1e-5)


def test_learned_shifts_move_images_as_origins_do():
    """By the same formula as everywhere else."""
    disc = whole_disc(BOX)
    poses = PoseTable(rotations(1), "quat", 1e-3)
    poses.rows.values[:, 4:] = torch.tensor([1.5, -0.5])
    one = network(poses=poses)
    spectra = torch.randn(1, len(disc), dtype=torch.complex64)
    values = list(inputs(count=1))
    values[0] = torch.view_as_real(spectra)[None]
    _, seen, _, _ = one(*values)
    expected = shifted(spectra, disc, torch.tensor([[1.5, -0.5]]))
    assert torch.allclose(torch.view_as_complex(seen[0].contiguous()), expected, atol=1e-5)


def test_rows_learn_by_adam_each_by_its_own_count():
    """A row seen every time goes as torch's Adam takes it; one that may not learn stays."""
    start = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    rows = LearnedRows(start, 0.1)
    expected = nn.Parameter(start[:1].clone())
    optimiser = torch.optim.Adam([expected], 0.1)
    for _ in range(5):
        ((rows(torch.tensor([0, 1]), torch.tensor([True, False])) ** 2) * torch.tensor([1.0, 2.0])).sum().backward()
        optimiser.zero_grad()
        ((expected**2) * torch.tensor([1.0, 2.0])).sum().backward()
        optimiser.step()
    assert torch.allclose(rows.values[0], expected[0].detach(), atol=1e-6)
    assert torch.equal(rows.values[1], start[1])


def test_a_shape_refuses_what_it_does_not_know():
    """One sentence for whoever opens a damaged file."""
    values = SHAPE.as_json()
    assert NetworkShape.of_json(values) == SHAPE
    for change in ({"domain": "wavelet"}, {"box": -1}, {"box": True}, {"zdim": "2"}):
        with pytest.raises(ValueError, match="the network's"):
            NetworkShape.of_json({**values, **change})
    with pytest.raises(ValueError, match="lacks or adds"):
        NetworkShape.of_json({**values, "more": 1})
