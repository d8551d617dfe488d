"""A tomogram's row as the correction reads it: its two halves, or one map, and how its blocks are to be cut."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cryobridge.core.tomogram import ContrastTransfer, VolumeBlock, Wedge, blocks, wedge_weight
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.correct import LARGEST_BLOCK
from cryobridge.wrappers.formats.mrc_header import MrcHeader
from cryobridge.wrappers.tomograms.table import Tomogram
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, sides, volume_paths

from .row_contrast import RowContrast

Source = Literal["halves", "whole", "deconvolved"]
"""What of a row is read. halves: both, else the whole one; whole: the whole one, else the mean of its halves;
deconvolved: that one, else as whole."""

_MARGIN = 16
"""Voxels of the tomogram, where it is not reduced; else twice as many."""
_LARGEST_WHOLE = 256
_EMPTY = 1e-6
"""Of the power: a wedge with less in it was emptied by a filter of the whole volume, as only simulated ones are."""
_THINNEST = 16


@dataclass(frozen=True)
class HalvesOfTomogram:
    """Both halves of a tomogram, open; the same file twice where there is one map only.

    Attributes
    ----------
    contrast
        What is known of its contrast transfer, if that is to be undone.
    bfactor_px2
        By which it is to be sharpened, in squared voxels.
    """

    tomogram: Tomogram
    even: TomogramVolume
    odd: TomogramVolume
    wedge: Wedge
    contrast: RowContrast | None = None
    bfactor_px2: float = 0.0

    @property
    def paired(self) -> bool:
        """Whether there are two."""
        return self.even is not self.odd

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.even.shape

    @property
    def header(self) -> MrcHeader:
        """Where the tomogram lies."""
        return self.even.header

    def block(self, block: VolumeBlock, device: torch.device, *, deconvolves: bool = True) -> tuple[Tensor, Tensor]:
        """What is read of a block, of the even and of the odd half, float32.

        Phases are flipped, or the contrast transfer is undone by a Wiener filter, if that is to be.

        Parameters
        ----------
        deconvolves
            If not, no Wiener filter.
        """
        even = self._read(self.even, block, device, deconvolves)
        return even, (self._read(self.odd, block, device, deconvolves) if self.paired else even)

    @property
    def transfer(self) -> ContrastTransfer | None:
        """What the network is to undo."""
        return self.contrast.transfer if self.contrast is not None and self.contrast.in_network else None

    @property
    def is_deconvolved(self) -> bool:
        """Whether it is read through a Wiener filter."""
        return self.contrast is not None and self.contrast.deconvolved is not None

    def _read(self, half: TomogramVolume, block: VolumeBlock, device: torch.device, deconvolves: bool) -> Tensor:
        if deconvolves and self.contrast is not None and self.contrast.deconvolved is not None:
            return self.contrast.deconvolved.read(half, block.read, device)
        found = torch.from_numpy(half.mirrored(block.read)).to(device)
        if self.contrast is None or not self.contrast.flips:
            return found
        return self.contrast.transfer.flipped(found)


@contextlib.contextmanager
def opened_halves(tomogram: Tomogram, wedge: Wedge, source: Source = "halves") -> Iterator[HalvesOfTomogram]:
    """Open a row.

    Raises
    ------
    InputInvalid
        If a file cannot be read, halves differ in size, or the tomogram is too thin to tell a wedge in.
    """
    with contextlib.ExitStack() as stack:
        if source == "halves" and tomogram.half1 is not None and tomogram.half2 is not None:
            even = stack.enter_context(TomogramVolume(tomogram, (tomogram.half1,)))
            odd = stack.enter_context(TomogramVolume(tomogram, (tomogram.half2,)))
            if even.shape != odd.shape:
                raise InputInvalid(
                    f"{odd.path}: has {sides(odd.shape)} voxels, {even.path} has {sides(even.shape)}; halves of one "
                    "tomogram are of one size"
                )
        else:
            paths = volume_paths(tomogram, deconvolved=source == "deconvolved")
            even = odd = stack.enter_context(TomogramVolume(tomogram, paths))
        if min(even.shape) < _THINNEST:
            axis = "zyx"[even.shape.index(min(even.shape))]
            raise InputInvalid(
                f"{even.path}: is {min(even.shape)} voxels thick along {axis}, and {_THINNEST} are needed; give a "
                "tomogram that is not trimmed so closely"
            )
        yield HalvesOfTomogram(tomogram, even, odd, wedge)


def wedge_of(tomogram: Tomogram, tilt_min_deg: float | None, tilt_max_deg: float | None) -> Wedge:
    """The measured sectors of a row: as given, else by its list of tilts, else by its range, else -60 to 60 degrees.

    Raises
    ------
    InputInvalid
        If its lowest tilt is not below its highest.
    """
    if tilt_min_deg is None and tilt_max_deg is None and tomogram.tilt_angles_deg is not None:
        try:
            return Wedge.of_tilts(tomogram.tilt_angles_deg)
        except ValueError as error:
            raise InputInvalid(f"{tomogram.source}: row {tomogram.row + 1}: {error}; mend its tilt angles") from error
    low, high = (
        next(value for value in (given, of_row, usual) if value is not None)
        for given, of_row, usual in (
            (tilt_min_deg, tomogram.tilt_min_deg, -60.0),
            (tilt_max_deg, tomogram.tilt_max_deg, 60.0),
        )
    )
    try:
        return Wedge.of_range(low, high)
    except ValueError as error:
        raise InputInvalid(
            f"{tomogram.source}: row {tomogram.row + 1}: tilts from {low:g} to {high:g} degrees are no range; correct "
            "'rlnTiltMin' and 'rlnTiltMax'"
        ) from error


def blocks_of(halves: HalvesOfTomogram, factor: int) -> tuple[list[VolumeBlock], int]:
    """The blocks that a tomogram is corrected in, and their margin; a periodic one is taken whole, without margin.

    What is read of a block has sides that divide by 8 times the factor.
    """
    unit = 8 * factor
    if is_periodic(halves) and all(side % unit == 0 for side in halves.shape):
        z, y, x = ((0, side) for side in halves.shape)
        return [VolumeBlock((z, y, x), (z, y, x))], 0
    margin = _MARGIN * min(factor, 2)
    side = LARGEST_BLOCK - 2 * margin
    cut = blocks(halves.shape, (side,) * 3, (margin,) * 3)
    return [VolumeBlock(one.kept, _in_units(one, unit)) for one in cut], margin


def is_periodic(halves: HalvesOfTomogram) -> bool:
    """Whether the wedge is empty in the whole volume's own transform, so that its faces join without a seam."""
    if max(halves.shape) > _LARGEST_WHOLE:
        return False
    whole = torch.from_numpy(halves.even.sections(0, halves.shape[0]))
    power = torch.fft.rfftn(whole - whole.mean()).abs().square()
    outside = power[wedge_weight(halves.wedge, whole.shape) == 0].sum()
    return float(outside / power.sum().clamp(min=1e-30)) < _EMPTY


def _in_units(block: VolumeBlock, unit: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    z, y, x = ((start, start + -(-(stop - start) // unit) * unit) for start, stop in block.read)
    return z, y, x


def middle_first(cut: list[VolumeBlock], shape: tuple[int, int, int]) -> list[VolumeBlock]:
    """Blocks by how near to the middle of the tomogram they are, where the specimen most likely is."""

    def distance(block: VolumeBlock) -> float:
        spans = zip(block.kept, shape, strict=True)
        return sum(((start + stop - side) / side) ** 2 for (start, stop), side in spans)

    return sorted(cut, key=distance)


@dataclass(frozen=True)
class BlendedPart:
    """What is added of a block: from where, which part of what was read, and how much of each voxel of it."""

    start: tuple[int, int, int]
    inside: tuple[slice, slice, slice]
    weight: Tensor
    stands_for: int


def blended(block: VolumeBlock, shape: tuple[int, int, int], margin: int) -> BlendedPart:
    """How a block fades into its neighbours, over half a margin to both sides of a border; all weights sum to 1.

    They are squares of sines and cosines, (nz, ny, nx); at the faces of the tomogram nothing fades.
    """
    reach = margin // 2
    starts, insides, lines = [], [], []
    for (start, stop), (first, _), side in zip(block.kept, block.read, shape, strict=True):
        low, high = max(0, start - reach), min(side, stop + reach)
        place = torch.arange(low, high) + 0.5
        line = torch.ones(len(place))
        if start > 0:
            line *= (torch.pi / 2 * ((place - start + reach) / (2 * reach)).clamp(0, 1)).sin().square()
        if stop < side:
            line *= (torch.pi / 2 * ((place - stop + reach) / (2 * reach)).clamp(0, 1)).cos().square()
        starts.append(low)
        insides.append(slice(low - first, high - first))
        lines.append(line)
    weight = lines[0][:, None, None] * lines[1][None, :, None] * lines[2][None, None, :]
    stands_for = math.prod(stop - start for start, stop in block.kept)
    return BlendedPart((starts[0], starts[1], starts[2]), (insides[0], insides[1], insides[2]), weight, stands_for)
