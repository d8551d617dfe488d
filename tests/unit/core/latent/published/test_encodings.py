"""Positional encodings, against their formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cryobridge.core.latent.published import EncodingKind, NetworkShape, PositionalEncoding, frequencies

BOX, COUNT = 32, 7


def shape(encoding: EncodingKind, sigma: float = 0.5) -> NetworkShape:
    return NetworkShape(BOX, 2, "resid", 1, 8, 16.0, 1, 8, encoding, COUNT, sigma, "fourier", "relu")


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        ("geom_ft", lambda i: BOX * math.pi * (2 / BOX) ** (i / (COUNT - 1))),
        ("geom_full", lambda i: BOX * math.pi * (1 / (BOX * math.pi)) ** (i / (COUNT - 1))),
        ("geom_lowf", lambda i: BOX / 2 * (2 / BOX) ** (i / (COUNT - 1))),
        ("geom_nohighf", lambda i: BOX / 2 * (4 * math.pi / BOX) ** (i / (COUNT - 1))),
    ],
)
def test_geometric_frequencies_are_those_of_the_formulas(kind, of):
    """From the first to the last, evenly in their logarithm."""
    assert np.allclose(frequencies(kind, BOX, COUNT), [of(i) for i in range(COUNT)], rtol=1e-12)


def test_linear_frequencies_are_whole_numbers_to_half_the_box():
    """Whatever the count."""
    assert frequencies("linear_lowf", BOX, 3).tolist() == list(range(1, BOX // 2 + 1))


@pytest.mark.parametrize("kind", ["geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf"])
def test_features_are_sines_and_cosines_along_each_axis(kind: EncodingKind):
    """All sines first, those of x, then of y, then of z."""
    encoding = PositionalEncoding.of(shape(kind), torch.Generator())
    points = torch.rand(5, 3) - 0.5
    found = encoding(points).double().numpy()
    along = frequencies(kind, BOX, COUNT).numpy()
    phases = np.concatenate([along * points[:, j : j + 1].double().numpy() for j in range(3)], axis=1)
    assert found.shape == (5, encoding.width)
    assert np.allclose(found, np.concatenate([np.sin(phases), np.cos(phases)], axis=1), atol=2e-5)


def test_gaussian_frequencies_have_the_spread_that_was_asked_for():
    """A share of half the box, the same for a seed."""
    many = NetworkShape(BOX, 2, "resid", 1, 8, 16.0, 1, 8, "gaussian", 2000, 0.25, "fourier", "relu")
    one = PositionalEncoding.of(many, torch.Generator().manual_seed(1))
    two = PositionalEncoding.of(many, torch.Generator().manual_seed(1))
    assert one.vectors.shape == (6000, 3)
    assert torch.equal(one.vectors, two.vectors)
    assert float(one.vectors.std()) == pytest.approx(0.25 * BOX / 2, rel=0.03)


def test_without_an_encoding_positions_are_features():
    """Three numbers."""
    encoding = PositionalEncoding.of(shape("none"), torch.Generator())
    points = torch.rand(4, 3)
    assert encoding.width == 3
    assert torch.equal(encoding(points), points)
