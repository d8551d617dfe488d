"""A volume of float32 on disk, for the time of one computation: in a file without a name, gone with the process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from .mrc_header import Float32Array
from .stored_runs import StoredShape, StoredWindow, stored_runs, voxel_count, window_shape
from .whole_file import write_all

_BYTES = 4


class ScratchVolume:
    """Takes and gives windows of a volume that may be larger than memory.

    Parameters
    ----------
    folder
        Where there is room for it.
    shape
        (z, y, x).

    Raises
    ------
    OSError
        If the folder cannot be written to, or the disk has no room for all of it: that is seen at once.
    """

    def __init__(self, folder: Path, shape: StoredShape) -> None:
        self.shape = shape
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        try:
            os.posix_fallocate(self._file.fileno(), 0, _BYTES * voxel_count(shape))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def put(self, window: StoredWindow, block: Float32Array) -> None:
        """Keep a block (z, y, x) as a window of the same shape."""
        view = np.ascontiguousarray(block, dtype=np.float32).reshape(-1).view(np.uint8).data
        for run in stored_runs(self.shape, window):
            part = view[_BYTES * run.in_window : _BYTES * (run.in_window + run.count)]
            write_all(self._file.fileno(), part, _BYTES * run.in_file)

    def window(self, window: StoredWindow) -> Float32Array:
        """What was put there, 0 where nothing was; (z, y, x)."""
        block = np.empty(window_shape(self.shape, window), np.float32)
        view = block.reshape(-1).view(np.uint8).data
        for run in stored_runs(self.shape, window):
            part = view[_BYTES * run.in_window : _BYTES * (run.in_window + run.count)]
            offset = _BYTES * run.in_file
            while part:
                got = os.preadv(self._file.fileno(), [part], offset)
                part, offset = part[got:], offset + got
        return block
