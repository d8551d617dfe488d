"""Wedges that a correction made up: sectors of its spectrum that are empty, or too full, where the data say otherwise.

A network that learned badly may empty a sector that was measured, or fill all of the wedge but a sector of it, so that
the result has a second wedge. So power is summed by direction about each axis: the angle about y is atan(kz / kx), as
of a tilt, that about x atan(kz / ky), that about z atan(ky / kx). Where something was measured a result is compared
with the signal of the data in the very same directions, so that specimens that are not alike in all directions,
membranes for instance, are no ghosts. Where nothing was measured there is nothing of the kind, but rings about the tilt
axis: at each distance from it something was measured. A wedge is weak, or strong, in nearly all rings and shells of its
sector, a membrane, whose power lies along a line, in few; so a sector is judged by a quarter of them.

Volumes are (z, y, x), spectra the halves that `rfftn` gives, frequencies in cycles per voxel. The bounds lie between
what was found on made scenes, membranes and rods among them: sectors of honest results had at least 0.9 (measured) and
0.5 (filled) of what is expected and at most 1.2 and 1.7, sectors of 20 degrees that were emptied to a tenth or raised
threefold 0.1 to 0.5 and 2 to 3. A hole narrower than ten degrees is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .material import SignalEvidence, TomogramBlock
from .shells import COUNT, radius, shares, shell_index
from .wedge import frequencies

GhostAxis = Literal["y", "x", "z"]
GhostRegion = Literal["measured", "filled"]

_SECTOR_DEG = 10.0
_SECTORS = 18
_RINGS = 8
"""Distances from the tilt axis, alike in solid angle."""
_NEAREST = 0.75
"""Share of a frequency along an axis from which on its angle about that axis says little."""
_AXES: tuple[tuple[GhostAxis, int, int, int], ...] = (("y", 1, 0, 2), ("x", 2, 0, 1), ("z", 0, 1, 2))
"""Each with its place among (z, y, x), and the two frequencies that the angle is of."""
_REGIONS: tuple[GhostRegion, ...] = ("measured", "filled")
_LOW, _HIGH = 0.02, 0.25
"""Cycles per voxel of the tomogram."""
_AGREE = 1 / 3
"""Of the halves: where they agree less there is more noise than signal to compare with."""
_LEAST_VOXELS = 100
"""Of a sector, in the whole spectrum; with fewer it is not judged."""
_LEAST_IN_CELL = 4
_LEAST_FILL = 0.05
"""Amplitude that was filled in over what was measured."""
_DOUBT, _SURE = 3.0, 6.0
"""Standard errors of a sector's signal: what it is given the benefit of, and how many of them it must rise above 0."""
_FEW, _MANY = 0.25, 0.75
"""Of the cells of a sector that was filled, by their ratio."""
_HOLE: dict[GhostRegion, float] = {"measured": 0.6, "filled": 0.4}
_EXCESS: dict[GhostRegion, float] = {"measured": 1.5, "filled": 2.5}


@dataclass(frozen=True)
class GhostWedge:
    """A sector that is emptier or fuller than it should be.

    Attributes
    ----------
    axis
        That the angles are about.
    region
        Which voxels tell it: those that were measured, or those that were filled.
    low_deg, high_deg
        From and to; beyond 90 where the sector goes on at the other end of the half circle.
    ratio
        Amplitude in the sector over what is expected, of its worst ten degrees.
    """

    axis: GhostAxis
    region: GhostRegion
    low_deg: float
    high_deg: float
    ratio: float


@dataclass(frozen=True)
class SectorRatios:
    """Amplitude by sector over what is expected there, (2 regions, 3 axes, 18 sectors) float64; NaN: cannot be told.

    The regions are what was measured and what was filled, the axes y, x and z, the sectors ten degrees each from -90.

    Attributes
    ----------
    likely
        As it was found, where that means something.
    fullest
        With every doubt on the side of there being enough: what is small here is a hole.
    emptiest
        With every doubt on the side of there being little: what is large here is an excess.
    """

    likely: Tensor
    fullest: Tensor
    emptiest: Tensor

    def ghost(self) -> GhostWedge | None:
        """The worst sector that is beyond the bounds; of one region and axis a hole counts before an excess."""
        found: list[GhostWedge] = []
        for place, region in enumerate(_REGIONS):
            for number, (axis, *_) in enumerate(_AXES):
                holes, excess = self.fullest[place, number], self.emptiest[place, number]
                if bool((holes < _HOLE[region]).any()):
                    worst = int(holes.nan_to_num(nan=1.0).argmin())
                    found.append(_around(worst, holes, holes < _HOLE[region], axis, region))
                elif bool((excess > _EXCESS[region]).any()):
                    worst = int(excess.nan_to_num(nan=1.0).argmax())
                    found.append(_around(worst, excess, excess > _EXCESS[region], axis, region))
        return max(found, key=lambda one: max(one.ratio, 1 / max(one.ratio, 1e-6)), default=None)

    def extremes(self, region: GhostRegion) -> tuple[float, float] | None:
        """The ratio of the emptiest and of the fullest sector, about whichever axis; None if nothing can be told."""
        place = _REGIONS.index(region)
        known = self.likely[place][~self.likely[place].isnan()]
        return (float(known.min()), float(known.max())) if len(known) else None


class DirectionalPower:
    """Power of a result and of the signal in the data by direction and shell, from any number of blocks.

    Attributes
    ----------
    sums
        (3 axes, 6, 18 sectors, 8 rings, 32 shells) float64 on the CPU: voxels that were measured, the result's power
        in them, the signal's as the data tell it, the variance of that, voxels that were not measured, the result's
        power in those.
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(3, 6, _SECTORS, _RINGS, COUNT, dtype=torch.float64)
        self._kept: tuple[tuple[int, ...], Tensor, list[Tensor]] | None = None

    def add(self, block: TomogramBlock, spectrum: Tensor, evidence: SignalEvidence) -> None:
        """Add a block's result.

        Parameters
        ----------
        block
            As it was shown to the network, on any device.
        spectrum
            What became of it, (z, y, x // 2 + 1), on the same.
        evidence
            Of its tomogram.
        """
        places, cells = self._cells_of(block, evidence.factor)
        even, odd = (torch.fft.rfftn(half).flatten()[places] for half in block.halves)
        gain = evidence.reduced_gain(block.shape, spectrum.device).flatten()[places]
        # A Wiener filter leaves of the mean's power gain^2 (S + N), which is gain S; S is what the halves share.
        signal = even * odd.conj() * (gain if evidence.paired else gain.square())
        power = spectrum.flatten()[places].abs().square()
        counts = shares(block.shape, spectrum.device).expand(spectrum.shape).flatten()[places]
        weight = block.weight.flatten()[places]
        measured, missing = counts * weight, counts * (1 - weight)
        values = (measured, power * measured, signal.real * measured, signal.abs().square() * measured)
        for number, value in enumerate((*values, missing, power * missing)):
            for sums, cell in zip(self.sums, cells, strict=True):
                found = torch.zeros(sums[number].numel() + 1, dtype=torch.float64, device=cell.device)
                found.index_add_(0, cell, value.double())
                sums[number] += found[:-1].reshape(sums[number].shape).cpu()

    def ratios(self, evidence: SignalEvidence) -> SectorRatios:
        """What has been added by sector, over what is expected; shells where halves agree, 0.02 to 0.25 of a voxel."""
        middles = (torch.arange(COUNT) + 0.5) / 64 / evidence.factor
        counted = (middles > _LOW) & (middles < _HIGH) & (evidence.agreement.of(middles) > _AGREE)
        sums = self.sums[..., counted]
        about_y = sums[0].sum(1)
        expected = about_y[1] / about_y[0].clamp(min=1e-9)
        found = [[_of_measured(one) for one in sums], [_of_filled(one, expected) for one in sums]]
        return SectorRatios(*torch.stack([torch.stack(region) for region in found]).movedim(2, 0))

    def _cells_of(self, block: TomogramBlock, factor: int) -> tuple[Tensor, list[Tensor]]:
        """Which voxels of the flat half spectrum count, and their cells about each axis; kept for blocks alike."""
        key = (*block.shape, factor)
        if self._kept is None or self._kept[0] != key:
            distance = radius(block.shape, block.weight.device).flatten() / factor
            places = ((distance > _LOW) & (distance < _HIGH)).nonzero()[:, 0]
            self._kept = key, places, [one.flatten()[places] for one in _cells(block.shape, block.weight.device)]
        return self._kept[1], self._kept[2]


def _cells(shape: tuple[int, int, int], device: torch.device) -> Iterator[Tensor]:
    """For each axis (z, y, x // 2 + 1) int64: sector, ring and shell as one number; the last where a voxel has none."""
    index, distance = shell_index(shape, device), radius(shape, device).clamp(min=1e-12)
    k = frequencies(shape, device)
    ring = (k[1].abs() / distance * _RINGS).long().clamp(max=_RINGS - 1)
    for _, axis, rise, run in _AXES:
        angle = torch.rad2deg(torch.atan2(torch.where(k[run] < 0, -k[rise], k[rise]), k[run].abs()))
        sector = ((angle + 90) / _SECTOR_DEG).long().clamp(max=_SECTORS - 1)
        cell = (sector * _RINGS + ring) * COUNT + index
        yield torch.where((k[axis].abs() < _NEAREST * distance) & (index < COUNT), cell, _SECTORS * _RINGS * COUNT)


def _around(worst: int, ratios: Tensor, beyond: Tensor, axis: GhostAxis, region: GhostRegion) -> GhostWedge:
    """A sector with its neighbours that are beyond the bound as well, on the circle."""
    low = high = worst
    while high - low < _SECTORS - 1 and bool(beyond[(low - 1) % _SECTORS]):
        low -= 1
    while high - low < _SECTORS - 1 and bool(beyond[(high + 1) % _SECTORS]):
        high += 1
    if low < 0:
        low, high = low + _SECTORS, high + _SECTORS
    return GhostWedge(axis, region, low * _SECTOR_DEG - 90, (high + 1) * _SECTOR_DEG - 90, float(ratios[worst]))


def _of_measured(sums: Tensor) -> Tensor:
    """Ratios of the sectors about one axis to the data's signal in the same voxels, (3, 18): likely, fullest, emptiest.

    Shells count by their voxels and not by their power; the middle ratio of all sectors is 1, because how much a
    network leaves of each shell is no question of directions.
    """
    voxels, power, signal, variance = sums[:4]
    mean_power, mean_signal = (one.sum((0, 1)) / voxels.sum((0, 1)).clamp(min=1e-9) for one in (power, signal))
    used = (mean_power > 0) & (mean_signal > 0)
    mean_power, mean_signal = mean_power[used], mean_signal[used]
    has = (power[..., used] / mean_power).sum((1, 2))
    should = (signal[..., used] / mean_signal).sum((1, 2)).clamp(min=0)
    error = (variance[..., used] / mean_signal.square()).sum((1, 2)).sqrt()
    told = voxels[..., used].sum((1, 2)) > _LEAST_VOXELS
    sure = told & (should > _SURE * error)
    if int(sure.sum()) < 3:
        return torch.full((3, _SECTORS), float("nan"), dtype=has.dtype)
    middle = (has / should)[sure].median().clamp(min=1e-12)
    likely, fullest, emptiest = (
        (has / (should + doubt * error).clamp(min=1e-12) / middle).sqrt() for doubt in (0.0, -_DOUBT, _DOUBT)
    )
    return torch.stack([_where(sure, likely), _where(sure, fullest), _where(told, emptiest)])


def _of_filled(sums: Tensor, expected: Tensor) -> Tensor:
    """Ratios of the sectors about one axis to what was measured in the same rings and shells, (3, 18), as above.

    The middle ratio of all sectors is 1: how much is filled in over all is another question. As far as sectors that
    were measured differ from each other, those that were filled may.
    """
    told, half, many, few = _by_cells(sums[4], sums[5], expected)
    middle = half[told].median() if bool(told.any()) else torch.zeros(())
    # Where next to nothing was filled in, its directions say nothing.
    told = told & (middle > _LEAST_FILL)
    middle = middle.clamp(min=_LEAST_FILL)
    known, measured, most, least = _by_cells(sums[0], sums[1], expected)
    lowest = highest = 1.0
    if bool(known.any()):
        level = measured[known].median().clamp(min=1e-12)
        lowest = min(1.0, float(most[known].min() / level))
        highest = max(1.0, float(least[known].max() / level))
    fullest, emptiest = many / middle / max(lowest, 1e-6), few / middle / highest
    return torch.stack([_where(told, half / middle), _where(told, fullest), _where(told, emptiest)])


def _by_cells(voxels: Tensor, power: Tensor, expected: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which sectors have enough voxels, and what half, many and few of their cells have, as amplitudes, (18,) each."""
    ratios = (power / voxels.clamp(min=1e-9) / expected.clamp(min=1e-30)).sqrt()
    used = (voxels > _LEAST_IN_CELL) & (expected > 0)
    cells = list(zip(ratios, used, voxels, strict=True))
    half, many, few = (
        torch.stack([_quantile(one[use], count[use], share) for one, use, count in cells])
        for share in (0.5, _MANY, _FEW)
    )
    return (voxels * used).sum((1, 2)) >= _LEAST_VOXELS, half, many, few


def _quantile(values: Tensor, weights: Tensor, share: float) -> Tensor:
    """The value (scalar) that a share of the weight lies below; NaN of none."""
    if len(values) == 0:
        return torch.tensor(float("nan"), dtype=torch.float64)
    order = values.argsort()
    reached = weights[order].cumsum(0)
    return values[order][int((reached < reached[-1] * share).sum())]


def _where(told: Tensor, values: Tensor) -> Tensor:
    return torch.where(told, values, torch.full_like(values, float("nan")))
