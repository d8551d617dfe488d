"""Volumes of any size, read window by window: no more of a file is held than is asked for.

For tomograms, which may be larger than the machine's memory. Only plain files: of a packed one no part can be read by
itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

from .compressed import MAGIC_BYTES, is_compressed
from .mrc import read_header, read_slabs
from .mrc_header import Float32Array, MrcHeader, StackStatistics
from .stored_runs import stored_runs, window_shape
from .value_statistics import RunningStatistics

Window = tuple[slice, slice, slice]
"""Along z, y, x, with step 1; stop beyond the end means the end."""


class MrcWindows:
    """An open MRC volume of mode 0, 1, 2, 6 or 12 and either byte order, whose parts are read as (z, y, x).

    Parameters
    ----------
    path
        The file; links are followed.

    Raises
    ------
    InputInvalid
        If it cannot be opened, is packed, is no such volume, or is shorter than it announces.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._descriptor = open_plain(self.path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InputInvalid(f"{path}: cannot be opened ({reason}); check the name and its permissions") from error
        try:
            if is_compressed(os.pread(self._descriptor, MAGIC_BYTES, 0)):
                raise InputInvalid(f"{path}: is packed, and no part of it can be read by itself; unpack it first")
            self.header: MrcHeader = read_header(self._descriptor, name=str(path))
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing may be read then."""
        os.close(self._descriptor)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.header.shape

    def window(self, z: slice, y: slice, x: slice) -> Float32Array:
        """Part of the volume, (z, y, x) float32, contiguous.

        Raises
        ------
        InputInvalid
            If a voxel in it is NaN or infinite, or the file became shorter.
        """
        stored = self._in_stored_order((z, y, x))
        block = self._stored(stored).transpose(self.header.transposition)
        found = np.ascontiguousarray(block, dtype=np.float32)
        if not np.isfinite(found).all():
            raise InputInvalid(
                f"{self.path}: holds NaN or infinite values ({int(np.count_nonzero(~np.isfinite(found)))} in sections "
                f"{z.indices(self.shape[0])[0]} to {z.indices(self.shape[0])[1] - 1}); find out which step made them"
            )
        return found

    def sections(self, start: int, stop: int) -> Float32Array:
        """Whole sections along z, (stop - start, y, x) float32; errors as `window`."""
        return self.window(slice(start, stop), slice(None), slice(None))

    def slabs(self, thickness: int) -> Iterator[tuple[int, Float32Array]]:
        """All of the volume, so many sections along z at a time: the first one's number, and the slab."""
        for start in range(0, self.shape[0], thickness):
            yield start, self.sections(start, min(start + thickness, self.shape[0]))

    def mirrored(self, spans: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> Float32Array:
        """A window that may reach beyond the volume, which is mirrored there (the voxels at its border come twice).

        Parameters
        ----------
        spans
            From and to along (z, y, x); negative, and beyond the end.
        """
        places = [_mirrored(start, stop, size) for (start, stop), size in zip(spans, self.shape, strict=True)]
        limits = [(int(one.min()), int(one.max()) + 1) for one in places]
        block = self.window(*(slice(*limit) for limit in limits))
        inner = [one - low for one, (low, _) in zip(places, limits, strict=True)]
        if all(len(one) == size and one[0] == 0 for one, size in zip(inner, block.shape, strict=True)):
            return block
        return np.ascontiguousarray(block[np.ix_(*inner)])

    def statistics(self) -> StackStatistics:
        """Least, most, mean and deviation of all voxels, summed in float64 a few sections at a time.

        Raises
        ------
        InputInvalid
            If a voxel is NaN or infinite; says in which sections.
        """
        running = RunningStatistics()
        for _, slab in read_slabs(self._descriptor, self.header, name=str(self.path)):
            running.add(slab)
        return running.found()

    def _in_stored_order(self, window: Window) -> Window:
        stored = [slice(None)] * 3
        for axis, place in enumerate(self.header.transposition):
            stored[place] = window[axis]
        return stored[0], stored[1], stored[2]

    def _stored(self, window: Window) -> np.ndarray[tuple[int, int, int], np.dtype[np.generic]]:
        """A window (sections, rows, columns) as it is stored."""
        header = self.header
        block = np.empty(window_shape(header.stored_shape, window), header.dtype)
        view = block.reshape(-1).view(np.uint8).data
        size = header.dtype.itemsize
        for run in stored_runs(header.stored_shape, window):
            part = view[run.in_window * size : (run.in_window + run.count) * size]
            self._fill(part, header.data_offset + run.in_file * size)
        return block

    def _fill(self, part: memoryview, offset: int) -> None:
        got = 0
        while got < len(part):
            try:
                more = os.preadv(self._descriptor, [part[got:]], offset + got)
            except OSError as error:
                raise InputInvalid(f"{self.path}: cannot be read ({error.strerror})") from error
            if more == 0:
                raise InputInvalid(f"{self.path}: became shorter while it was read; another program is writing to it")
            got += more


def _mirrored(start: int, stop: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    places = np.arange(start, stop, dtype=np.int64) % (2 * size)
    return np.where(places < size, places, 2 * size - 1 - places)
