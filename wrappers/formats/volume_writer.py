"""Volumes of any size, written window by window: no more of one is held than is handed in.

Windows may come in any order. What is put in lies in the file at once; the header, and with it the file's being a
volume, comes last. To be used on the descriptor of `whole_file`, so that nothing of it is seen before.
"""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .mrc_header import HEADER_BYTES, Float32Array, MrcHeader, StackStatistics, volume_header_bytes
from .stored_runs import stored_runs, voxel_count
from .value_statistics import RunningStatistics
from .whole_file import write_all

VolumeType = Literal["float32", "float16", "int8"]
_AT_A_TIME = 4 << 20
"""Voxels of the last pass that are held at once."""
_LARGEST_HALF = 65504.0


class VolumeWriter:
    """Writes a volume (z, y, x) that lies where another does, in that one's order of axes.

    Parameters
    ----------
    descriptor
        Open for reading and writing; from its start on.
    like
        Gives shape, order of axes, voxel size and position.
    dtype
        What it is stored as in the end. int8: values are rounded, those beyond -128 and 127 are set to them and
        counted in `clipped`.
    name
        What to call it in messages.
    scaled_later
        Values are put in on a scale that is known only in the end: they are held as float32 in the file until `finish`.

    Attributes
    ----------
    clipped
        Values that int8 had no room for.
    """

    def __init__(
        self, descriptor: int, like: MrcHeader, dtype: VolumeType, name: str, *, scaled_later: bool = False
    ) -> None:
        self._descriptor, self._like, self._type, self._name = descriptor, like, dtype, name
        self._waits = scaled_later
        self._statistics = RunningStatistics()
        self._final = np.dtype({"float32": "<f4", "float16": "<f2", "int8": "i1"}[dtype])
        self._held = np.dtype("<f4") if scaled_later else self._final
        self._put = 0
        self.clipped = 0

    def put(self, z: int, y: int, x: int, block: Float32Array) -> None:
        """Write a block (z, y, x) whose first voxel is at (z, y, x); windows must not overlap.

        Raises
        ------
        InputInvalid
            If a value is not finite, or does not fit into float16.
        ValueError
            If the block reaches beyond the volume.
        OSError
            If it cannot be written, e.g. disk full.
        """
        self._write(z, y, x, block, added=False)
        self._put += block.size

    def add(self, z: int, y: int, x: int, block: Float32Array, stands_for: int) -> None:
        """Add a block (z, y, x) to what is there, which is 0 at first; only of a volume that is scaled later.

        Parameters
        ----------
        stands_for
            How many voxels of the volume count as put in by it: all blocks together stand for all voxels.

        Raises
        ------
        ValueError
            If the volume is not scaled later, or the block reaches beyond it.
        OSError
            If it cannot be written, e.g. disk full.
        """
        if not self._waits:
            raise ValueError("only what is held as float32 until the end can be added to")
        self._write(z, y, x, block, added=True)
        self._put += stands_for

    def _write(self, z: int, y: int, x: int, block: Float32Array, *, added: bool) -> None:
        shape = self._like.shape
        window = [slice(start, start + size) for start, size in zip((z, y, x), block.shape, strict=True)]
        if any(part.start < 0 or part.stop > size for part, size in zip(window, shape, strict=True)):
            raise ValueError(f"a block {block.shape} at {(z, y, x)} in a volume of {shape}")
        values = block if self._waits else self._converted(block)
        order = self._like.transposition
        stored, places = [slice(None)] * 3, [0] * 3
        for axis, place in enumerate(order):
            stored[place], places[place] = window[axis], axis
        laid = np.array(values.transpose(places), dtype=self._held, order="C").reshape(-1)
        size = self._held.itemsize
        for run in stored_runs(self._like.stored_shape, (stored[0], stored[1], stored[2])):
            part, offset = laid[run.in_window : run.in_window + run.count], HEADER_BYTES + run.in_file * size
            if added:
                before = np.empty_like(part)
                _read_all(self._descriptor, before.view(np.uint8).data, offset)
                part += before
            write_all(self._descriptor, part.view(np.uint8).data, offset)

    def finish(self, gain: float = 1.0, offset: float = 0.0) -> StackStatistics:
        """Write the header; where the scale was to be known later, put every value on it first: gain x + offset.

        Returns
        -------
        StackStatistics
            Of all voxels as they are stored.

        Raises
        ------
        InputInvalid, OSError
            As `put`.
        ValueError
            If not every voxel was put in.
        """
        if self._put != voxel_count(self._like.shape):
            raise ValueError(f"{self._put} voxels of a volume of {self._like.shape}")
        if self._waits:
            self._scale(gain, offset)
        statistics = self._statistics.found()
        write_all(self._descriptor, volume_header_bytes(self._like, self._type, statistics), 0)
        os.ftruncate(self._descriptor, HEADER_BYTES + self._put * self._final.itemsize)
        return statistics

    def _scale(self, gain: float, offset: float) -> None:
        """From front to back: a final value never lies behind the one it is made of, so none is lost."""
        buffer = np.empty(_AT_A_TIME, np.dtype("<f4"))
        for start in range(0, self._put, _AT_A_TIME):
            part = buffer[: min(_AT_A_TIME, self._put - start)]
            _read_all(self._descriptor, part.view(np.uint8).data, HEADER_BYTES + 4 * start)
            scaled = (part * np.float64(gain) + offset).astype(np.float32)
            converted = self._converted(scaled)
            write_all(
                self._descriptor,
                np.ascontiguousarray(converted, dtype=self._final).view(np.uint8).data,
                HEADER_BYTES + start * self._final.itemsize,
            )

    def _converted(self, block: Float32Array) -> NDArray[np.generic]:
        if not np.isfinite(block).all():
            raise InputInvalid(f"{self._name}: would hold NaN or infinite values; it is not written")
        values: NDArray[np.generic] = block
        if self._type == "float16":
            largest = float(np.abs(block).max(initial=0.0))
            if largest > _LARGEST_HALF:
                raise InputInvalid(
                    f"{self._name}: values up to {largest:.4g} do not fit into float16, which ends at "
                    f"{_LARGEST_HALF:g}; write float32"
                )
            values = block.astype(self._final)
        elif self._type == "int8":
            rounded = np.rint(block)
            self.clipped += int(np.count_nonzero((rounded < -128) | (rounded > 127)))
            values = np.clip(rounded, -128, 127).astype(np.int8)
        self._statistics.add(values)
        return values


def stored_type(mode_dtype: np.dtype[np.generic]) -> VolumeType:
    """What a volume is written as when it is to be stored as another was: float32 but for half precision and bytes."""
    if mode_dtype.kind == "f" and mode_dtype.itemsize == 2:
        return "float16"
    return "int8" if mode_dtype.itemsize == 1 and mode_dtype.kind == "i" else "float32"


def _read_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        got = os.preadv(descriptor, [view], offset)
        if got == 0:  # never written: a hole at the end of the file
            view[:] = bytes(len(view))
            return
        view, offset = view[got:], offset + got
