"""Places for subtomograms: drawn at random inside a mask, where the whole crop fits into the tomogram."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .volume_blocks import Span

MaskSections = Callable[[int, int], Tensor]
"""The sections from one to another of a mask, (sections, y, x), nonzero inside."""
AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Positions:
    """Centres that were drawn.

    Attributes
    ----------
    centres
        (n, 3) int64, z, y, x; a box from centre - crop // 2 on, of `crop` voxels, lies in the tomogram.
    valid
        How many there were to draw from; with fewer of them than were wanted some were drawn more than once.
    """

    centres: Tensor
    valid: int


@dataclass(frozen=True)
class NoPosition:
    """Why no crop fits.

    Attributes
    ----------
    thin
        Axes along which the tomogram itself is smaller than the crop.
    masked
        Voxels inside the mask.
    spans
        From where to where the mask reaches along (z, y, x); None where it is empty.
    allowed
        Where centres may lie, (z, y, x); stop is not after start on a thin axis.
    """

    thin: tuple[str, ...]
    masked: int
    spans: tuple[Span, Span, Span] | None
    allowed: tuple[Span, Span, Span]

    @property
    def short(self) -> tuple[str, ...]:
        """Axes along which the mask, wherever it is, holds no place for a centre."""
        if self.spans is None:
            return ()
        return tuple(
            axis
            for axis, (start, stop), (low, high) in zip(AXES, self.spans, self.allowed, strict=True)
            if high <= low or stop <= low or start >= high
        )


def allowed_centres(shape: tuple[int, int, int], crop: int, *, beyond: bool = False) -> tuple[Span, Span, Span]:
    """Where the centre of a crop may lie along (z, y, x); everywhere if it may reach `beyond` the tomogram."""
    if beyond:
        z, y, x = ((0, size) for size in shape)
    else:
        z, y, x = ((crop // 2, size - crop + crop // 2 + 1) for size in shape)
    return z, y, x


def drawn_positions(
    sections: MaskSections,
    shape: tuple[int, int, int],
    crop: int,
    count: int,
    seed: int,
    *,
    beyond: bool = False,
    at_a_time: int = 32,
) -> Positions | NoPosition:
    """Draw centres uniformly, without putting any back as long as there are enough.

    Parameters
    ----------
    sections
        Gives parts of the mask; asked twice for each.
    shape
        Of mask and tomogram, (z, y, x).
    crop
        Side of what is cut out.
    count
        How many are wanted.
    seed
        Of the draw.
    beyond
        Whether a crop may reach beyond the tomogram.
    at_a_time
        Sections that are asked for at once.
    """
    allowed = allowed_centres(shape, crop, beyond=beyond)
    masked, spans, counts = 0, _Spans(), []
    starts = range(0, shape[0], at_a_time)
    for start in starts:
        inside = sections(start, min(start + at_a_time, shape[0])) != 0
        masked += int(inside.sum())
        spans.add(inside, start)
        counts.append(int(_centres(inside, start, allowed).sum()))
    valid = sum(counts)
    if valid == 0 or count < 1:
        thin = tuple(axis for axis, size in zip(AXES, shape, strict=True) if size < crop and not beyond)
        return NoPosition(thin, masked, spans.found, allowed)
    ranks = _ranks(valid, count, seed)
    found, before = [], 0
    for start, many in zip(starts, counts, strict=True):
        here = ranks[(ranks >= before) & (ranks < before + many)] - before
        if len(here):
            inside = sections(start, min(start + at_a_time, shape[0])) != 0
            places = _centres(inside, start, allowed).nonzero()[here]
            found.append(places + torch.tensor([start, 0, 0]))
        before += many
    return Positions(torch.cat(found), valid)


class _Spans:
    """From where to where something reaches, part by part."""

    def __init__(self) -> None:
        self._limits: list[list[int]] | None = None

    def add(self, inside: Tensor, start: int) -> None:
        if not bool(inside.any()):
            return
        limits = []
        for axis, first in enumerate((start, 0, 0)):
            along = inside.any(dim=tuple(other for other in range(3) if other != axis)).nonzero()
            limits.append([first + int(along[0]), first + int(along[-1]) + 1])
        if self._limits is not None:
            pairs = zip(self._limits, limits, strict=True)
            limits = [[min(old[0], new[0]), max(old[1], new[1])] for old, new in pairs]
        self._limits = limits

    @property
    def found(self) -> tuple[Span, Span, Span] | None:
        if self._limits is None:
            return None
        z, y, x = ((low, high) for low, high in self._limits)
        return z, y, x


def _centres(inside: Tensor, start: int, allowed: tuple[Span, Span, Span]) -> Tensor:
    """Which voxels of sections of a mask, the first of which is `start`, may be centres."""
    possible = inside.clone()
    for axis, ((low, high), first) in enumerate(zip(allowed, (start, 0, 0), strict=True)):
        places = torch.arange(first, first + inside.shape[axis])
        outside = ((places < low) | (places >= high)).nonzero().flatten()
        possible.index_fill_(axis, outside, False)
    return possible


def _ranks(valid: int, count: int, seed: int) -> Tensor:
    """Sorted ranks of the places that are taken."""
    generator = torch.Generator().manual_seed(seed)
    if count > valid:
        again = torch.randint(valid, (count - valid,), generator=generator)
        return torch.cat([torch.arange(valid), again]).sort().values
    if 4 * count > valid:
        return torch.randperm(valid, generator=generator)[:count].sort().values
    taken = torch.empty(0, dtype=torch.int64)
    while len(taken) < count:  # few of many: a permutation of billions would not fit
        more = torch.randint(valid, (2 * (count - len(taken)),), generator=generator)
        together = torch.cat([taken, more])
        fresh = torch.unique(together)
        taken = fresh[torch.randperm(len(fresh), generator=generator)[:count]]
    return taken.sort().values
