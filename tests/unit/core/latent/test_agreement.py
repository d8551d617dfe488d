"""How far latents say the same: up to a linear map, and corrected for chance."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.latent import shared_variance


def test_a_linear_map_loses_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(100, 3, generator=generator)
    second = first @ torch.randn(3, 3, generator=generator) + 5
    assert shared_variance(first, second) == pytest.approx(1, abs=1e-6)


def test_latents_that_have_nothing_in_common_share_next_to_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    pairs = [(torch.randn(60, 4, generator=generator), torch.randn(60, 8, generator=generator)) for _ in range(20)]
    assert sum(shared_variance(*pair) for pair in pairs) / 20 < 0.08


def test_noise_of_the_same_size_leaves_half() -> None:
    generator = torch.Generator().manual_seed(2)
    second = torch.randn(4000, 2, generator=generator)
    first = second + torch.randn(4000, 2, generator=generator)
    assert shared_variance(first, second) == pytest.approx(0.5, abs=0.04)


def test_latents_that_are_all_the_same_share_nothing() -> None:
    assert shared_variance(torch.ones(10, 2), torch.randn(10, 2)) == 0
    assert shared_variance(torch.randn(10, 2), torch.ones(10, 2)) == pytest.approx(0, abs=1e-6)
