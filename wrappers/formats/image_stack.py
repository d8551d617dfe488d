"""Images of an MRC stack, read in runs: the header is checked against the file, pixels are read when asked for."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

from .compressed import MAGIC_BYTES, is_compressed
from .foreign import named_for_what_it_is
from .mrc_header import HEADER_BYTES, parsed_header

MOST_IMAGES = 100_000_000
_STACK = "a stack of images (MRC)"
_STACK_SUFFIXES = (".mrcs", ".st")
_SLAB_BYTES = 16 << 20


class ImageStack:
    """A stack of square images that is open for reading; a context manager.

    Parameters
    ----------
    path
        An MRC file of mode 0 (as IMOD's stamp says, else signed), 1, 2, 6 or 12, either byte order.

    Attributes
    ----------
    count, box
        Images, and pixels along a side.
    pixel_size_A
        As the header says; 0 where it does not.
    is_volume
        Whether it is a cube that is not named as a stack is.

    Raises
    ------
    InputInvalid
        If it cannot be read, is packed, no such file, cut off, or its images are not square.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = open_plain(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InputInvalid(f"{path}: cannot be read ({reason}); check the stack and its permissions") from error
        try:
            self._read_header()
        except BaseException:
            os.close(self._descriptor)
            raise

    def read(self, first: int, count: int) -> NDArray[np.float32]:
        """Some images that follow each other.

        Parameters
        ----------
        first
            Index of the first, from 0 on.

        Returns
        -------
        (count, box, box) float32, contiguous; y, x.

        Raises
        ------
        InputInvalid
            If the file has become shorter, or cannot be read.
        ValueError
            If the stack has no such images.
        """
        if first < 0 or count < 0 or first + count > self.count:
            raise ValueError(f"images {first} to {first + count} of {self.count}")
        images = np.empty((count, self.box, self.box), np.float32)
        # Slab by slab, so that nothing is held twice but for a slab.
        step = max(1, _SLAB_BYTES // self._image_bytes)
        for start in range(0, count, step):
            part = images[start : start + step]
            if self._dtype == np.dtype("<f4"):
                self._read_into(part, first + start)
            else:
                stored = np.empty(part.shape, self._dtype)
                self._read_into(stored, first + start)
                part[:] = stored
        return images

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """The stack itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _read_header(self) -> None:
        path = self.path
        raw, size = os.pread(self._descriptor, HEADER_BYTES, 0), os.fstat(self._descriptor).st_size
        if is_compressed(raw[:MAGIC_BYTES]):
            raise InputInvalid(f"{path}: is packed, and images are read from all over a stack; unpack it")
        if len(raw) < HEADER_BYTES:
            raise InputInvalid(
                named_for_what_it_is(raw, str(path), _STACK)
                or f"{path}: holds {len(raw)} bytes, less than the {HEADER_BYTES} of an MRC header; it was cut off"
            )
        header = parsed_header(raw, str(path), MOST_IMAGES)
        count, rows, columns = header.stored_shape
        if header.axes != (1, 2, 3):
            raise InputInvalid(f"{path}: its axes are stored in another order than x, y, z; it is no stack of images")
        if rows != columns:
            raise InputInvalid(f"{path}: holds images of {columns} x {rows} pixels, which are not square; extract anew")
        announced = header.data_offset + header.data_bytes
        if size < announced:
            raise InputInvalid(
                f"{path}: holds {size} bytes, its header announces {announced}; it was cut off, copy it again"
            )
        self.count, self.box = count, rows
        self.pixel_size_A = header.voxel_size_A[2]
        self._dtype, self._offset = header.dtype, header.data_offset
        self._image_bytes = rows * columns * header.dtype.itemsize
        # Programs do not agree on what a stack's space group is, so its name decides: volumes are never called .mrcs.
        self.is_volume = count == rows and path.suffix.lower() not in _STACK_SUFFIXES

    def _read_into(self, target: NDArray[np.generic], first: int) -> None:
        view = target.reshape(-1).view(np.uint8).data
        offset, got = self._offset + first * self._image_bytes, 0
        while got < len(view):
            try:
                more = os.preadv(self._descriptor, [view[got:]], offset + got)
            except OSError as error:
                raise InputInvalid(f"{self.path}: cannot be read ({error.strerror})") from error
            if more == 0:
                raise InputInvalid(f"{self.path}: became shorter while it was read; another program is writing to it")
            got += more
