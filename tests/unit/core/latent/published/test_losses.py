"""The published loss, by its formulas."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from cryobridge.core.latent.published import PublishedLoss, beta_schedule, divergence, hartley_values


@pytest.mark.parametrize(
    ("name", "images", "value"),
    [
        ("a", 0, 0.001),
        ("a", 500_000, 7.5005),
        ("a", 2_000_000, 15.0),
        ("b", 100_000, 5.0),
        ("b", 500_000, 10.0),
        ("c", 500_000, 11.5),
        ("d", 1_000_000, 5.0),
        ("d", 3_000_000, 11.5),
        ("d", 9_000_000, 18.0),
    ],
)
def test_schedules_rise_as_they_are_documented(name: str, images: int, value: float):
    """Linearly between two counts of images, and level before and after."""
    assert beta_schedule(name)(images) == pytest.approx(value)


def test_a_constant_weight_stays():
    """However many images were seen."""
    assert beta_schedule(0.25)(10) == beta_schedule(0.25)(10_000_000) == 0.25


def test_the_divergence_is_that_of_normal_distributions():
    """As torch's distributions give it, summed over a latent's numbers."""
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).sum(dim=1)
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-5)


def test_the_misfit_is_the_mean_square_over_hartley_values():
    """Though it is worked out on half of the complex ones."""
    one, two = torch.randn(4, 1, 30, 2), torch.randn(4, 1, 30, 2)
    expected = ((hartley_values(one) - hartley_values(two)) ** 2).mean()
    assert float(PublishedLoss(1.0).data(one, two)) == pytest.approx(float(expected), rel=1e-5)


def test_the_divergence_counts_by_the_pixel_and_by_its_weight():
    """Beta times its mean over M."""
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    found = PublishedLoss(0.5).regular(mean, log_variance, torch.full((5,), 0.5), 700)
    assert float(found) == pytest.approx(0.5 * float(divergence(mean, log_variance).mean()) / 700, rel=1e-5)


def test_a_target_is_missed_by_the_square_of_the_distance():
    """It draws the divergence up as well as down."""
    mean = torch.full((4, 1), 2.0, requires_grad=True)
    log_variance = torch.zeros(4, 1)
    loss = PublishedLoss("a", control=0.1)
    for beta, sign in ((9.0, -1), (0.5, 1)):
        term = loss.regular(mean, log_variance, torch.full((4,), beta), 100)
        assert float(term.detach()) == pytest.approx(0.1 * (beta - 2.0) ** 2 / 100, rel=1e-5)
        (slope,) = torch.autograd.grad(term, mean)
        assert bool((slope * sign > 0).all())
