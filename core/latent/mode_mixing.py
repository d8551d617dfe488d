"""How much of each linear mode is in a particle of a latent: it begins as the linear model itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ModeMixing(nn.Module):
    """Amounts of linear modes from latents.

    Parameters
    ----------
    zdim
        Numbers of a latent. In the beginning each is the amount of one mode; the other modes begin at 0.
    modes
        Of the linear model.
    width
        Of its two hidden layers.
    """

    def __init__(self, zdim: int, modes: int, width: int) -> None:
        super().__init__()
        self._modes = modes
        last = nn.Linear(width, modes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(zdim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, z: Tensor) -> Tensor:
        """Amounts (B, modes) of latents (B, zdim), in the units of the scores."""
        with torch.autocast(z.device.type, enabled=False):
            kept = z[:, : self._modes]
            start = nn.functional.pad(kept, (0, self._modes - kept.shape[1]))
            change: Tensor = self.network(z)
        return start + change
