"""The volume of a tomogram's row, whole or as the mean of its two halves, read window by window.

Every check that the headers allow is made on opening: a job does it for all its rows before it begins.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from cryobridge.schemas.errors import InputInvalid

from ..formats.mrc_header import Float32Array, MrcHeader, StackStatistics
from ..formats.mrc_windows import MrcWindows, Window
from ..formats.value_statistics import RunningStatistics
from .table import Tomogram
from .voxel_sizes import LARGEST_A, SMALLEST_A, believed_voxel_size_A

Spans = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
_ALIKE = 0.01
_AT_A_TIME = 4 << 20
"""Voxels that are held at once where all are looked at."""


class TomogramVolume:
    """One or two open files that are read as one volume (z, y, x): two are averaged.

    Attributes
    ----------
    header
        Of the first file, with the voxel size that is used for what is written: its own, or the table's where it tells
        none that is believed.
    pixel_size_A
        The table's, else the header's; None where neither tells one.
    remarks
        What a user should know of the voxel size, in sentences.
    """

    def __init__(self, tomogram: Tomogram, paths: tuple[Path, ...]) -> None:
        self._files: list[MrcWindows] = []
        try:
            for path in paths:
                self._files.append(_opened(tomogram, path))
            first = self._files[0]
            for other in self._files[1:]:
                if other.shape != first.shape:
                    raise InputInvalid(
                        f"{other.path}: has {sides(other.shape)} voxels, {first.path} has {sides(first.shape)}; halves "
                        "of one tomogram are of one size"
                    )
            self.path = first.path
            self.header, self.pixel_size_A, self.remarks = _with_pixel_size(tomogram, first.header, first.path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.header.shape

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(file.path for file in self._files)

    def window(self, z: slice, y: slice, x: slice) -> Float32Array:
        """Part of the volume, (z, y, x) float32; InputInvalid if it holds NaN or infinite values."""
        window: Window = (z, y, x)
        return self._mean([file.window(*window) for file in self._files])

    def sections(self, start: int, stop: int) -> Float32Array:
        """Whole sections along z; errors as `window`."""
        return self.window(slice(start, stop), slice(None), slice(None))

    def mirrored(self, spans: Spans) -> Float32Array:
        """A window that may reach beyond the volume, which is mirrored there; errors as `window`."""
        return self._mean([file.mirrored(spans) for file in self._files])

    def sections_at_a_time(self) -> int:
        """How many sections along z are a handy amount."""
        return max(1, _AT_A_TIME // (self.shape[1] * self.shape[2]))

    def statistics(self) -> StackStatistics:
        """Least, most, mean and deviation of all voxels, in float64; errors as `window`."""
        if len(self._files) == 1:
            return self._files[0].statistics()
        running = RunningStatistics()
        step = self.sections_at_a_time()
        for start in range(0, self.shape[0], step):
            running.add(self.sections(start, min(start + step, self.shape[0])))
        return running.found()

    def middle_sections(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """The sections through the middle: across z (y, x), across y (z, x) and across x (z, y)."""
        z, y, x = (size // 2 for size in self.shape)
        everything = slice(None)
        return (
            self.window(slice(z, z + 1), everything, everything)[0],
            self.window(everything, slice(y, y + 1), everything)[:, 0],
            self.window(everything, everything, slice(x, x + 1))[:, :, 0],
        )

    def _mean(self, blocks: list[Float32Array]) -> Float32Array:
        if len(blocks) == 1:
            return blocks[0]
        mean: Float32Array = np.float32(0.5) * (blocks[0] + blocks[1])
        return mean


def volume_paths(tomogram: Tomogram, *, deconvolved: bool = False) -> tuple[Path, ...]:
    """The files of a row that are read: the deconvolved one if wanted and there, else the whole one, else both halves.

    Raises
    ------
    InputInvalid
        If the row has but one half.
    """
    if deconvolved and tomogram.deconv is not None:
        return (tomogram.deconv,)
    if tomogram.full is not None:
        return (tomogram.full,)
    if tomogram.half1 is not None and tomogram.half2 is not None:
        return (tomogram.half1, tomogram.half2)
    raise InputInvalid(
        f"{tomogram.source}: row {tomogram.row + 1} has one half of a tomogram only; give both, or the whole one as "
        "'rlnMicrographName'"
    )


def sides(shape: tuple[int, int, int]) -> str:
    """A shape (z, y, x) in the order of headers, x first."""
    return " x ".join(str(size) for size in reversed(shape))


@contextlib.contextmanager
def opened_mask(tomogram: Tomogram, shape: tuple[int, int, int]) -> Iterator[MrcWindows | None]:
    """The mask of a row, or None where it has none.

    Raises
    ------
    InputInvalid
        If it cannot be read, or is of another size than the tomogram.
    """
    if tomogram.mask is None:
        yield None
        return
    with _opened(tomogram, tomogram.mask) as mask:
        if mask.shape != shape:
            raise InputInvalid(
                f"{mask.path}: has {sides(mask.shape)} voxels, its tomogram ({tomogram.name}) has {sides(shape)}; make "
                "the mask of this tomogram (tomo make_mask), or correct 'rlnMaskName'"
            )
        yield mask


def _opened(tomogram: Tomogram, path: Path) -> MrcWindows:
    """A file of a row; what is wrong with it is said with the row."""
    try:
        return MrcWindows(path)
    except InputInvalid as error:
        raise InputInvalid(f"{tomogram.source}: row {tomogram.row + 1}: {error}") from error


def _with_pixel_size(
    tomogram: Tomogram, header: MrcHeader, path: Path
) -> tuple[MrcHeader, float | None, tuple[str, ...]]:
    of_header_A = believed_voxel_size_A(header)
    of_table_A = tomogram.pixel_size_A
    size_A = of_table_A or of_header_A
    remarks = []
    if of_table_A is not None and of_header_A is not None and abs(of_table_A / of_header_A - 1) > _ALIKE:
        remarks.append(
            f"{path}: its header says {of_header_A:.4g} A, the table {of_table_A:.4g} A; the table's is reckoned with."
        )
    if size_A is not None and not SMALLEST_A <= size_A <= LARGEST_A:
        remarks.append(
            f"{path}: a voxel size of {size_A:.4g} A is unusual for a tomogram; is 'rlnPixelSize' in Angstrom?"
        )
    if of_header_A is None and size_A is not None:
        header = dataclasses.replace(header, voxel_size_A=(size_A,) * 3)
    return header, size_A, tuple(remarks)
