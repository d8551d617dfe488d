"""What is found out about a series of volumes while they pass by, without holding more than two of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cryobridge.core.fourier import fsc, last_held_shell

from ....report.levels import AlikeLevels

MOST_SHOWN = 12
"""Volumes in a picture strip."""
MOST_CURVES = 6
"""FSC curves in one figure."""


@dataclass(frozen=True)
class Neighbours:
    """How alike a volume and the next are.

    correlation
        Of their voxels.
    change
        Root mean square of the difference, over the first one's deviation.
    curve
        FSC by shell, up to the last in which the first holds something.
    """

    correlation: float
    change: float
    curve: Tensor


class SeriesFindings:
    """Sections of the volumes that are shown, what changes between them, and their spread.

    Parameters
    ----------
    count
        Volumes that will come.
    follow
        Whether neighbours are compared.
    """

    def __init__(self, count: int, *, follow: bool) -> None:
        self.shown = sorted({round(place) for place in np.linspace(0, count - 1, min(count, MOST_SHOWN))})
        self.sections: dict[int, Tensor] = {}
        self.levels: list[float] = []
        self.neighbours: list[Neighbours] = []
        self._follow = follow
        self._seen = 0
        self._alike = AlikeLevels()
        self._first: Tensor | None = None
        self._before: Tensor | None = None
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, volume: Tensor) -> None:
        """Look at the next volume (n, n, n)."""
        number = self._seen
        self._seen += 1
        if number in self.shown:
            # Projections show what moves wherever it lies.
            self.sections[number] = volume.sum(dim=0).cpu()
        self.levels.append(self._alike.of(volume))
        if self._first is None or self._sum is None or self._squares is None:
            self._first, self._before = volume, volume
            self._sum, self._squares = torch.zeros_like(volume), torch.zeros_like(volume)
            return
        # Sums of differences, not of values: what is the same in all must not drown what is not.
        difference = volume - self._first
        self._sum += difference
        self._squares += difference.square()
        if self._follow and self._before is not None:
            self.neighbours.append(_compared(self._before, volume))
        self._before = volume

    def spread(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of the volumes, (n, n, n) each; None of fewer than two."""
        if self._seen < 2 or self._first is None or self._sum is None or self._squares is None:
            return None
        mean = self._sum / self._seen
        variance = (self._squares / self._seen - mean.square()).clamp(min=0.0)
        return self._first + mean, variance.sqrt()

    def curves(self) -> dict[int, Tensor]:
        """FSC curves by the number of the first of two neighbours: the least alike ones."""
        order = sorted(range(len(self.neighbours)), key=lambda place: self.neighbours[place].correlation)
        return {place: self.neighbours[place].curve for place in sorted(order[:MOST_CURVES])}


def _compared(first: Tensor, second: Tensor) -> Neighbours:
    one, two = (volume.double() - volume.double().mean() for volume in (first, second))
    power = one.square().sum().sqrt(), two.square().sum().sqrt()
    both = float(power[0] * power[1])
    correlation = float((one * two).sum()) / both if both > 0 else 0.0
    change = float((two - one).square().sum().sqrt() / power[0]) if float(power[0]) > 0 else 0.0
    curve = fsc(first, second)[: last_held_shell(first) + 1]
    return Neighbours(correlation, change, curve.cpu())
