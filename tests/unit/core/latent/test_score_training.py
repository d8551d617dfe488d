"""Before any image, encoder and mixing learn a curve of the modes that one number tells."""

from __future__ import annotations

import torch

from cryobridge.core.latent import FilmNetwork, FilmShape, train_on_scores
from cryobridge.core.training import generator_at

SHAPE = FilmShape(zdim=1, modes=3, box=16, radius=4.0, features=4, width=8, layers=1, encoder_width=32)


def on_a_curve() -> torch.Tensor:
    """Scores (2000, 3) of which the second and third follow from the first, but not linearly, with a little error."""
    generator = generator_at(5)
    t = 4 * torch.rand(2000, generator=generator) - 2
    curve = torch.stack([t, t**2 - 4 / 3, 0.5 * torch.sin(3 * t)], dim=1)
    return curve + 0.05 * torch.randn(2000, 3, generator=generator)


def left_of(network: FilmNetwork, scores: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        mean, _ = network.encoder(scores)
        return (network.mixing(mean) - scores).var(dim=0) / scores.var(dim=0)


def test_one_number_tells_three_modes_that_lie_on_a_curve() -> None:
    scores = on_a_curve()
    network = FilmNetwork.new(SHAPE, torch.zeros(4, 3), 1.0, seed=0)
    before = left_of(network, scores)
    train_on_scores(network, scores, scores.var(dim=0) + 0.02, 0.25, 0)
    after = left_of(network, scores)
    assert float(before[1]) > 0.9
    assert float(after.max()) < 0.2


def test_it_is_the_same_for_a_seed() -> None:
    scores = on_a_curve()
    found = []
    for _ in range(2):
        network = FilmNetwork.new(SHAPE, torch.zeros(4, 3), 1.0, seed=0)
        train_on_scores(network, scores, scores.var(dim=0), 0.25, 3)
        found.append(network.mixing(torch.ones(1, 1)).detach())
    assert torch.equal(*found)
