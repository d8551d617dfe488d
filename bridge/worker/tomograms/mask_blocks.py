"""The mask of one tomogram, found and written block by block.

Two passes: the first counts how often values of the two measures come up, which tells where their percentiles lie; the
second compares.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from cryobridge.core.tomogram import (
    ValueCounts,
    VolumeBlock,
    binned_by_2,
    blocks,
    mask_margin,
    mask_measures,
    upsampled_by_2,
)
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.make_mask import BLOCK
from cryobridge.wrappers.formats.mrc_header import StackStatistics
from cryobridge.wrappers.formats.volume_writer import VolumeWriter
from cryobridge.wrappers.tomograms.volumes import TomogramVolume

from ..loop import Progress

_ALL_PERCENT = 99.8
"""From here on a percentage takes everything."""


@dataclass(frozen=True)
class MaskChoice:
    """What decides a mask.

    Attributes
    ----------
    patch
        Half the side of the boxes, in binned voxels.
    density_percentage, std_percentage
        How much stays by each measure.
    z_crop
        Which part of the binned sections is left out at each end.
    outline
        Which binned voxels (y, x) of a section lie inside the outline; None without one.
    z_range
        First and last binned section of the outline; None without one.
    """

    patch: int
    density_percentage: float
    std_percentage: float
    z_crop: float = 0.0
    outline: Tensor | None = None
    z_range: tuple[float, float] | None = None


class MaskBlocks:
    """The mask of a tomogram.

    Parameters
    ----------
    volume
        Open; protein dark.
    choice
        What decides the mask.
    device
        To compute on.

    Raises
    ------
    InputInvalid
        If the tomogram is too small to be binned, or has one value only.
    """

    def __init__(self, volume: TomogramVolume, choice: MaskChoice, device: torch.device) -> None:
        self._volume, self._choice, self._device = volume, choice, device
        z, y, x = (size // 2 for size in volume.shape)
        self._binned = (z, y, x)
        if min(self._binned) < 1:
            raise InputInvalid(f"{volume.path}: is but one voxel thick; give a tomogram")
        self._blocks = list(blocks(self._binned, (BLOCK,) * 3, (mask_margin(choice.patch),) * 3))
        self._kept: tuple[Tensor, Tensor] | None = None
        # Until they are known; looking at all values takes time, so `write` does it.
        self._statistics = StackStatistics(0.0, 0.0, 0.0, 1.0)

    def write(self, descriptor: int, name: str) -> Generator[Progress, None, float]:
        """Write the mask as int8; return which part of the tomogram lies inside.

        Raises
        ------
        InputInvalid
            If nothing does, or the tomogram holds NaN.
        """
        yield Progress("looking at its values", 0.0)
        self._statistics = self._volume.statistics()
        if self._statistics.deviation == 0:
            raise InputInvalid(f"{self._volume.path}: all voxels have one value; give a tomogram")
        levels = yield from self._levels()
        writer = VolumeWriter(descriptor, self._volume.header, "int8", name)
        inside = 0
        for number, block in enumerate(self._blocks):
            mask = self._mask(block, levels).to(torch.int8)
            starts, shape = self._place(block)
            full = upsampled_by_2(mask, shape)
            inside += int(full.sum())
            writer.put(*starts, full.cpu().numpy().astype("float32"))
            yield Progress(f"writing part {number + 1} of {len(self._blocks)}", self._done(number + 1, 1))
        if inside == 0:
            raise InputInvalid(
                f"{self._volume.path}: its mask is empty: no voxel is within density_percentage "
                f"{self._choice.density_percentage:g}, std_percentage {self._choice.std_percentage:g}, z_crop and the "
                "outline together; raise the percentages, or correct the outline"
            )
        writer.finish()
        return inside / math.prod(self._volume.shape)

    def _levels(self) -> Generator[Progress, None, tuple[float | None, float | None]]:
        """What density and spread must exceed; None where everything is taken."""
        choice, statistics = self._choice, self._statistics
        takes_density = choice.density_percentage <= _ALL_PERCENT
        takes_spread = choice.std_percentage <= _ALL_PERCENT
        if not (takes_density or takes_spread):
            return None, None
        low, high = (self._scaled(value) for value in (statistics.least, statistics.most))
        density, spread = ValueCounts(-high, -low), ValueCounts(0.0, (high - low) / 2)
        for number, block in enumerate(self._blocks):
            measures = self._measures(block)
            density.add(measures[0])
            spread.add(measures[1])
            yield Progress(f"measuring part {number + 1} of {len(self._blocks)}", self._done(number + 1, 0))
        return (
            density.percentile(100 - choice.density_percentage) if takes_density else None,
            spread.percentile(100 - choice.std_percentage) if takes_spread else None,
        )

    def _mask(self, block: VolumeBlock, levels: tuple[float | None, float | None]) -> Tensor:
        """Which voxels of a block (z, y, x) are inside, bool."""
        sizes = [stop - start for start, stop in block.kept]
        mask = torch.ones(sizes, dtype=torch.bool, device=self._device)
        if levels != (None, None):
            for measure, level in zip(self._measures(block), levels, strict=True):
                if level is not None:
                    mask &= measure > level
        (z0, z1), (y0, y1), (x0, x1) = block.kept
        sections = torch.arange(z0, z1, device=self._device)
        cut = int(self._choice.z_crop * self._binned[0])
        kept = (sections >= cut) & (sections < self._binned[0] - cut)
        if self._choice.z_range is not None:
            low, high = self._choice.z_range
            kept &= (sections >= round(low)) & (sections <= round(high))
        mask &= kept[:, None, None]
        if self._choice.outline is not None:
            mask &= self._choice.outline[y0:y1, x0:x1].to(self._device)
        return mask

    def _measures(self, block: VolumeBlock) -> tuple[Tensor, Tensor]:
        """Density and spread of what is kept of a block, kept for the second pass where it is the only one."""
        if self._kept is not None:
            return self._kept
        clipped = block.clipped(self._binned)
        z, y, x = (slice(2 * start, 2 * stop) for start, stop in clipped.read)
        read = torch.from_numpy(self._volume.window(z, y, x)).to(self._device)
        binned = binned_by_2(read).sub_(self._statistics.mean).div_(self._statistics.deviation)
        density, spread = mask_measures(binned, self._choice.patch)
        found = (density[clipped.inside], spread[clipped.inside])
        if len(self._blocks) == 1:
            self._kept = found
        return found

    def _place(self, block: VolumeBlock) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Where a block lies in the tomogram, and its shape there; the last one takes an odd last voxel along."""
        starts, sizes = [], []
        for (start, stop), binned, size in zip(block.kept, self._binned, self._volume.shape, strict=True):
            starts.append(2 * start)
            sizes.append((size if stop == binned else 2 * stop) - 2 * start)
        return cast("tuple[int, int, int]", tuple(starts)), cast("tuple[int, int, int]", tuple(sizes))

    def _scaled(self, value: float) -> float:
        return (value - self._statistics.mean) / self._statistics.deviation

    def _done(self, blocks_done: int, passes_done: int) -> float:
        return (0.1, 0.55)[passes_done] + 0.45 * blocks_done / len(self._blocks)
