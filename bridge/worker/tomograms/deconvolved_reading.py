"""Tomograms read as a Wiener filter of their contrast transfer leaves them, block by block, without a file of that."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.tomogram import (
    BlockDeconvolution,
    DeconvolutionFilter,
    VolumeBlock,
    deconvolution_weight,
    fast_length,
    filtered_by,
    mirrored_places,
)
from cryobridge.wrappers.tomograms.volumes import Spans, TomogramVolume

_WHOLE_SIDE = 192
"""A tomogram of no longer side is filtered as a whole, once."""
_MARGIN = 48
"""Voxels beyond a block; what reaches farther is done on a coarse grid of the whole."""


class DeconvolvedReading:
    """Reads volumes through a filter, at the mean grey value that they have.

    Values are not brought back to the deviation that they had: where the contrast transfer is strong they stay, so that
    they are the specimen's as far as the filter brings it back.

    Parameters
    ----------
    parameters
        Of the filter, at the voxels of the files.
    """

    def __init__(self, parameters: DeconvolutionFilter) -> None:
        self._parameters = parameters
        self._small: dict[tuple[Path, ...], Tensor] = {}
        self._large: dict[tuple[Path, ...], tuple[BlockDeconvolution, float]] = {}

    def read(self, volume: TomogramVolume, spans: Spans, device: torch.device) -> Tensor:
        """What is read of a part (z, y, x), mirrored beyond the ends of the volume; float32 on the device.

        A part that is the very volume is taken for periodic, as one whose faces join.

        Raises
        ------
        InputInvalid
            If the file holds NaN or infinite values.
        """
        z, y, x = ((0, side) for side in volume.shape)
        if spans == (z, y, x):
            whole = torch.from_numpy(volume.sections(*z)).to(device)
            weight = deconvolution_weight(volume.shape, self._parameters, device)
            return filtered_by(whole - whole.mean(), weight) + whole.mean()
        places = [mirrored_places(*span, side) for span, side in zip(spans, volume.shape, strict=True)]
        if max(volume.shape) <= _WHOLE_SIDE:
            found, firsts = self._whole(volume, device), (0, 0, 0)
        else:
            found, firsts = self._part(volume, places, device)
        for axis, (place, first) in enumerate(zip(places, firsts, strict=True)):
            found = found.index_select(axis, (place - first).to(device))
        return found

    def _whole(self, volume: TomogramVolume, device: torch.device) -> Tensor:
        if volume.paths not in self._small:
            steps = BlockDeconvolution(volume.shape, self._parameters, device=device)
            (block,) = steps.blocks
            read = torch.from_numpy(volume.mirrored(block.read)).to(device)
            self._small[volume.paths] = steps.filtered(block, read) + read[block.inside].mean()
        return self._small[volume.paths].to(device)

    def _part(
        self, volume: TomogramVolume, places: list[Tensor], device: torch.device
    ) -> tuple[Tensor, tuple[int, int, int]]:
        """What of the volume is needed, and where it begins."""
        if volume.paths not in self._large:
            self._large[volume.paths] = _prepared(volume, self._parameters, device)
        steps, mean = self._large[volume.paths]
        z, y, x = ((int(place.min()), int(place.max()) + 1) for place in places)
        wider = [(low - _MARGIN, low - _MARGIN + fast_length(high - low + 2 * _MARGIN)) for low, high in (z, y, x)]
        block = VolumeBlock((z, y, x), (wider[0], wider[1], wider[2]))
        found = steps.filtered(block, torch.from_numpy(volume.mirrored(block.read)))
        return found + mean, (z[0], y[0], x[0])


def _prepared(
    volume: TomogramVolume, parameters: DeconvolutionFilter, device: torch.device
) -> tuple[BlockDeconvolution, float]:
    """The lowest frequencies of all of a volume, which reach farther than any block, and its mean."""
    steps = BlockDeconvolution(volume.shape, parameters, _WHOLE_SIDE, device=device)
    for part, spans in steps.coarse_parts:
        steps.take_coarse(part, torch.from_numpy(volume.mirrored(spans)))
    steps.filter_coarse()
    return steps, volume.statistics().mean
