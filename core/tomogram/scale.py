"""Grey values brought to a scale that a network knows, and back.

Statistics are added up in float64 over pieces of any size, so that the sums of a tomogram of half precision do not
overflow and no tomogram has to be held.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

LOW, HIGH = 0.04, 0.96
_BINS = 4096
_FINE = 1e-4
"""Of the distance between the two percentiles; most volumes need two passes, those with far outliers one more."""
_MOST_PASSES = 5

Pieces = Callable[[], Iterable[Tensor]]
"""Gives a volume in pieces of any shape, the same each time."""


@dataclass(frozen=True)
class GreyScale:
    """An affine map: what a network sees is (value - zero) / one."""

    zero: float
    one: float

    def apply(self, values: Tensor) -> Tensor:
        """Values (...,) on the network's scale."""
        return (values - self.zero) / self.one

    def undo(self, values: Tensor) -> Tensor:
        """Values (...,) on the scale that `apply` was given."""
        return values * self.one + self.zero

    def negated(self) -> GreyScale:
        """The map of values of the other sign to the same scale."""
        return GreyScale(-self.zero, -self.one)


def percentile_scale(pieces: Pieces) -> Generator[None, None, GreyScale]:
    """The scale on which the 4th percentile is 0 and the 96th is 1; yields after each piece that was looked at.

    Parameters
    ----------
    pieces
        The volume in tensors of any shape (...,); asked for a few times over.

    Raises
    ------
    ValueError
        If it has one value throughout.
    """
    low, high = yield from _percentiles(pieces, (LOW, HIGH))
    # Where nine voxels in ten are alike, the others still differ by something.
    return GreyScale(low, high - low or 1.0)


def deviation_scale(pieces: Pieces) -> Generator[None, None, GreyScale]:
    """The scale on which the mean is 0 and the deviation 1; pieces (...,), yields and errors as `percentile_scale`."""
    count, total, squares = 0, 0.0, 0.0
    for piece in pieces():
        count, total = count + piece.numel(), total + float(piece.double().sum())
        yield
    mean = total / max(1, count)
    for piece in pieces():
        squares += float((piece.double() - mean).square().sum())
        yield
    if not squares > 0:
        raise ValueError(f"all values are {mean:g}")
    return GreyScale(mean, (squares / count) ** 0.5)


def normalised(volumes: Tensor, *, by_percentile: bool) -> Tensor:
    """Each of some volumes (n, z, y, x) on a scale of its own; one of a single value becomes 0."""
    flat = volumes.flatten(1)
    if by_percentile:
        ordered = flat.sort(dim=1).values
        zero, high = _at(ordered, LOW), _at(ordered, HIGH)
        one = high - zero
    else:
        exact = flat.double()
        zero = exact.mean(dim=1).to(flat.dtype)
        one = exact.std(dim=1, correction=0).to(flat.dtype)
    shape = (-1, 1, 1, 1)
    return (volumes - zero.view(shape)) / torch.where(one > 0, one, torch.ones_like(one)).view(shape)


def _at(ordered: Tensor, share: float) -> Tensor:
    """Percentiles of rows (n, count) that are in order, between two values in proportion, as numpy's are."""
    place = share * (ordered.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below)


def _percentiles(pieces: Pieces, shares: tuple[float, float]) -> Generator[None, None, tuple[float, float]]:
    """By histograms, each as wide as the bin of the one before that the percentile lies in."""
    count, low, high = 0, float("inf"), float("-inf")
    for piece in pieces():
        count += piece.numel()
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        yield
    if not low < high:
        raise ValueError(f"all values are {low:g}")
    narrowed = [_Narrowed(share * (count - 1), low, high) for share in shares]
    for _ in range(_MOST_PASSES):
        for one in narrowed:
            one.counts.zero_()
        for piece in pieces():
            values = piece.double().flatten()
            for one in narrowed:
                one.count(values)
            yield
        for one in narrowed:
            one.narrow()
        if max(one.high - one.low for one in narrowed) < _FINE * (narrowed[1].middle - narrowed[0].middle):
            break
    return narrowed[0].middle, narrowed[1].middle


class _Narrowed:
    """Where the value at a place of all values in order lies: between low and high, after so many values below."""

    def __init__(self, place: float, low: float, high: float) -> None:
        self.place, self.low, self.high = place, low, high
        self.before = 0.0
        self.counts = torch.zeros(_BINS, dtype=torch.float64)

    @property
    def middle(self) -> float:
        return self.low + (self.high - self.low) / 2

    def count(self, values: Tensor) -> None:
        inside = values[(values >= self.low) & (values <= self.high)]
        bins = ((inside - self.low) / (self.high - self.low) * _BINS).long().clamp(0, _BINS - 1)
        self.counts += torch.bincount(bins, minlength=_BINS).cpu()

    def narrow(self) -> None:
        reached = self.before + self.counts.cumsum(0)
        hit = int((reached <= self.place).sum().clamp(max=_BINS - 1))
        step = (self.high - self.low) / _BINS
        self.before = float(reached[hit] - self.counts[hit])
        self.low, self.high = self.low + hit * step, self.low + (hit + 1) * step
