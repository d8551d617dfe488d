"""A decoder that is evaluated at many latents gives what it gives in training."""

from __future__ import annotations

import itertools

import pytest
import torch

from cryobridge.core.latent import half_spectrum_points
from cryobridge.core.latent.published import Activation, CoordinateDecoder, DecoderOfPoints, Domain, NetworkShape

BOX = 8


def decoder(zdim: int, domain: Domain, activation: Activation) -> CoordinateDecoder:
    shape = NetworkShape(
        box=BOX,
        zdim=zdim,
        encoder="none",
        encoder_layers=1,
        encoder_width=8,
        encoder_radius=3.0,
        decoder_layers=3,
        decoder_width=16,
        encoding="gaussian",
        encoding_count=4,
        feature_sigma=0.5,
        domain=domain,
        activation=activation,
    )
    torch.manual_seed(4)
    return CoordinateDecoder(shape, torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    ("zdim", "domain", "activation"),
    list(itertools.product([0, 3], ["fourier", "hartley"], ["relu", "leaky_relu"])),
)
@torch.no_grad()
def test_it_is_the_decoder_of_training(zdim: int, domain: Domain, activation: Activation) -> None:
    trained = decoder(zdim, domain, activation)
    points = half_spectrum_points(BOX, torch.device("cpu")).float()
    z = torch.randn(2, zdim, generator=torch.Generator().manual_seed(5))
    quick = DecoderOfPoints(trained, BOX)
    found = torch.view_as_real(quick.values(quick.prepared(points), z))
    wanted = trained((points / BOX)[None], z).expand(2, -1, -1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert float(wanted.abs().max()) > 1e-2
