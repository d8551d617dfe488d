"""A table with a row for each image or object, of which a step learns only the rows that it saw."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

_DECAY, _SQUARED_DECAY, _SMALLEST = 0.9, 1 - 1e-3, 1e-8


class LearnedRows(nn.Module):
    """A table whose rows learn by Adam, each with a count of steps of its own, while the gradient is worked out.

    An optimiser over the whole table would move every row in every step, by the momentum of those that it was last
    seen with. The table and its moments are buffers, so they are stored with the network.

    Parameters
    ----------
    values
        (N, width) to begin with.
    rate
        Adam's learning rate. Source: Kingma & Ba 2015, ICLR (arXiv 1412.6980).
    """

    values: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, values: Tensor, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("values", values.float().clone())
        self.register_buffer("first", torch.zeros_like(self.values))
        self.register_buffer("second", torch.zeros_like(self.values))
        self.register_buffer("steps", torch.zeros(len(values), dtype=torch.int64))

    def forward(self, members: Tensor, learns: Tensor) -> Tensor:
        """Rows (..., width) of members (...,), each of them once; they learn where `learns` (...,) is true."""
        rows = self.values[members]
        if not (self.training and torch.is_grad_enabled()):
            return rows
        rows = rows.detach().requires_grad_()
        rows.register_hook(partial(self._learn, members[learns], learns))  # type: ignore[no-untyped-call]
        return rows

    @torch.no_grad()
    def _learn(self, members: Tensor, learns: Tensor, gradient: Tensor) -> None:
        slope = gradient[learns]
        count = self.steps[members] + 1
        first = self.first[members].lerp(slope, 1 - _DECAY)
        second = self.second[members].lerp(slope * slope, 1 - _SQUARED_DECAY)
        mean = first / (1 - _DECAY**count)[:, None]
        spread = torch.sqrt(second / (1 - _SQUARED_DECAY**count)[:, None])
        self.steps[members], self.first[members], self.second[members] = count, first, second
        self.values[members] -= self.rate * mean / (spread + _SMALLEST)
