"""Least, most, mean and deviation of more numbers than can be held, part by part in float64."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .mrc_header import StackStatistics


class RunningStatistics:
    """Of all that was added, by the pairwise update of Chan, Golub & LeVeque (1979), which loses no digits."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = 0.0
        self._least, self._most = math.inf, -math.inf

    def add(self, values: NDArray[np.generic]) -> None:
        """Add values of any shape; a half-precision type may overflow no sum, since all are in float64."""
        if values.size == 0:
            return
        part = values.astype(np.float64)
        mean = float(part.mean())
        self._least, self._most = min(self._least, float(part.min())), max(self._most, float(part.max()))
        part -= mean
        squares = float(np.square(part, out=part).sum())
        total = self._count + values.size
        apart = mean - self._mean
        self._squares += squares + apart * apart * self._count * values.size / total
        self._mean += apart * values.size / total
        self._count = total

    def found(self) -> StackStatistics:
        """Of everything so far, the deviation that of a population.

        Raises
        ------
        ValueError
            If nothing was added.
        """
        if self._count == 0:
            raise ValueError("nothing was added")
        return StackStatistics(self._least, self._most, self._mean, math.sqrt(self._squares / self._count))
