"""The warm encoder begins as the scores."""

from __future__ import annotations

import torch

from cryobridge.core.latent.warm_encoder import WarmEncoder


def test_it_begins_near_the_scores_and_sure_of_them() -> None:
    torch.manual_seed(0)
    scores = torch.randn(50, 3)
    mean, log_variance = WarmEncoder(3, 3, 16)(scores)
    assert float((mean - scores).abs().max()) < 0.2
    assert float((log_variance + 3).abs().max()) < 0.2


def test_numbers_beyond_the_scores_begin_at_nothing() -> None:
    torch.manual_seed(0)
    mean, _ = WarmEncoder(2, 4, 16)(torch.randn(50, 2))
    assert mean.shape == (50, 4)
    assert float(mean[:, 2:].abs().max()) < 0.2


def test_fewer_numbers_keep_the_first_scores() -> None:
    torch.manual_seed(0)
    scores = torch.randn(50, 4)
    mean, _ = WarmEncoder(4, 2, 16)(scores)
    assert float((mean - scores[:, :2]).abs().max()) < 0.2
