"""An encoder that begins as the scores of a linear model and learns what these leave out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FIRST_LOG_VARIANCE = -3.0
_LAST_LAYER = 0.1


class WarmEncoder(nn.Module):
    """Mean and logarithm of the variance of latents from scores.

    Parameters
    ----------
    modes
        Scores of a particle.
    zdim
        Numbers of a latent; those beyond the scores begin at 0.
    width
        Of its two hidden layers.
    """

    def __init__(self, modes: int, zdim: int, width: int) -> None:
        super().__init__()
        self._zdim = zdim
        last = nn.Linear(width, 2 * zdim)
        with torch.no_grad():
            last.weight.mul_(_LAST_LAYER)
            last.bias.mul_(_LAST_LAYER)
            last.bias[zdim:] += _FIRST_LOG_VARIANCE
        self.network = nn.Sequential(nn.Linear(modes, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Both (B, zdim), of scores (B, modes), whose first has a deviation of about 1."""
        change, log_variance = self.network(scores).chunk(2, dim=-1)
        kept = scores[:, : self._zdim]
        start = nn.functional.pad(kept, (0, self._zdim - kept.shape[1]))
        return start + change, log_variance
