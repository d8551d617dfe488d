"""Part of a volume in a file, as the runs of bytes that lie together in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

StoredShape = tuple[int, int, int]
StoredWindow = tuple[slice, slice, slice]


@dataclass(frozen=True)
class StoredRun:
    """Voxels that lie together: the first of them in the file and in the window, and how many."""

    in_file: int
    in_window: int
    count: int


def stored_runs(shape: StoredShape, window: StoredWindow) -> Iterator[StoredRun]:
    """The runs of a window (sections, rows, columns) of a volume, in order.

    A window of whole sections is one run, one of whole rows one for each section, any other one for each row.
    """
    sections, rows, columns = (range(*part.indices(size)) for part, size in zip(window, shape, strict=True))
    if not (len(sections) and len(rows) and len(columns)):
        return
    row, section = shape[2], shape[1] * shape[2]
    if len(columns) == shape[2] and len(rows) == shape[1]:
        yield StoredRun(sections.start * section, 0, len(sections) * section)
        return
    at = 0
    for number in sections:
        first = number * section + rows.start * row
        if len(columns) == shape[2]:
            yield StoredRun(first, at, len(rows) * row)
            at += len(rows) * row
            continue
        for line in range(len(rows)):
            yield StoredRun(first + line * row + columns.start, at, len(columns))
            at += len(columns)


def window_shape(shape: StoredShape, window: StoredWindow) -> StoredShape:
    """How many voxels a window has along each axis."""
    a, b, c = (len(range(*part.indices(size))) for part, size in zip(window, shape, strict=True))
    return a, b, c


def voxel_count(shape: StoredShape) -> int:
    """Voxels of a volume."""
    return math.prod(shape)
