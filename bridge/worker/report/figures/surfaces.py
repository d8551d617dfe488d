"""Pictures of many volumes side by side: shaded surfaces, sections, and what differs from the mean.

A picture is made of a volume at once, so that volumes need not be held together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from .canvas import Array, array, label, png, sheet
from .slices import scale_bar_A

Seen = Literal["z", "y", "x"]
"""The axis that is looked along."""

_AXES: dict[Seen, int] = {"z": 0, "y": 1, "x": 2}
_LIGHT = (0.4, -0.45, 0.8)  # right, down and towards the viewer
_AMBIENT, _FADE = 0.25, 0.35
_MOST_COLUMNS = 8
_MARGIN = 24
"""Such a part of the side is left beside what is seen."""
_INCHES = 8.0


def surface_picture(volume: Tensor | Array, level: float, seen_along: Seen = "z") -> Array:
    """A shaded surface of a volume (n, n, n) at a level, (n, n) from 0 (dark) to 1; NaN beside it.

    The first voxel along each line of sight that reaches the level is lit by the slope of the density there, and what
    is further away is darker. Looked at from the far end of the axis; a volume that nowhere reaches the level is NaN.
    """
    turned = np.moveaxis(array(volume), _AXES[seen_along], 0)[::-1]
    solid = turned >= level
    hit = np.asarray(solid.any(axis=0))
    depth = np.asarray(solid.argmax(axis=0))
    rows, columns = np.indices(depth.shape)
    slopes = [np.asarray(np.gradient(turned, axis=axis))[depth, rows, columns] for axis in range(3)]
    # The density falls outwards, and the first axis counts away from the viewer.
    normal = np.stack([-slopes[2], -slopes[1], slopes[0]])
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-30)
    light = np.asarray(_LIGHT) / np.linalg.norm(np.asarray(_LIGHT))
    bright = _AMBIENT + (1 - _AMBIENT) * np.clip(np.tensordot(light, normal, 1), 0, 1)
    seen = depth[hit]
    nearest, furthest = int(seen.min(initial=len(solid))), int(seen.max(initial=0))
    bright *= 1 - _FADE * (depth - nearest) / max(furthest - nearest, 1)
    result: Array = np.where(hit, bright, np.nan)
    return result


def surface_level(volume: Tensor | Array, share: float = 0.03) -> float:
    """The level that the `share` of brightest voxels of a volume (n, n, n) reach, a fair one for its neighbours too."""
    return float(np.quantile(array(volume), 1 - share))


def section_picture(volume: Tensor | Array, seen_along: Seen = "z") -> Array:
    """The central section (n, n) of a volume (n, n, n)."""
    values = np.moveaxis(array(volume), _AXES[seen_along], 0)
    middle: Array = values[len(values) // 2]
    return middle


def middle_of(pictures: Sequence[Array]) -> slice:
    """The middle of pictures (n, n), along either axis, that holds whatever is seen in any of them, and a margin."""
    side = pictures[0].shape[0]
    seen = np.any([np.isfinite(picture) for picture in pictures], axis=0)
    rows, columns = np.nonzero(seen)
    places = np.concatenate([rows, columns])
    reach = int(np.abs(places - side // 2).max(initial=0)) + 1 + max(1, side // _MARGIN)
    if not places.size or reach > side // 2:
        return slice(0, side)
    return slice(side // 2 - reach, side // 2 + reach)


def picture_strip(
    rows: Mapping[str, Sequence[Array]],
    titles: Sequence[str],
    voxel_size_A: float,
    *,
    signed: Sequence[str] = (),
    columns: int = _MOST_COLUMNS,
) -> bytes:
    """Pictures (n, n) of volumes in rows by name, a column for each volume, broken where there are more than `columns`.

    Parameters
    ----------
    rows
        All rows have as many pictures as there are titles. A row has one scale, so that what looks stronger is.
    signed
        Rows of differences: zero is white, more is red, less is blue.
    """
    count = len(titles)
    across = min(columns, count)
    bands = math.ceil(count / across)
    size = min(_INCHES / across, 1.8)
    figure = sheet(max(size * across + 0.35, 3.0), bands * len(rows) * (size + 0.2) + 0.2)
    grid = figure.subplots(bands * len(rows), across, squeeze=False)
    scales = {name: _scale(pictures, name in signed) for name, pictures in rows.items()}
    for band in range(bands):
        for row, (name, pictures) in enumerate(rows.items()):
            line = grid[band * len(rows) + row]
            for column, axes in enumerate(line):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                number = band * across + column
                if number >= count:
                    continue
                low, high = scales[name]
                colours = "RdBu_r" if name in signed else "gray"
                axes.imshow(pictures[number], cmap=colours, vmin=low, vmax=high, origin="lower")
                if row == 0:
                    axes.set_title(label(titles[number]), fontsize=7)
            line[0].set_ylabel(label(name), fontsize=7)
    first = next(iter(rows.values()))[0]
    bar_A = scale_bar_A(first.shape[1] * voxel_size_A)
    corner = grid[-len(rows)][0]
    corner.plot([1, 1 + bar_A / voxel_size_A], [1, 1], color="#D55E00", linewidth=2, solid_capstyle="butt")
    corner.set_xlabel(f"bar {bar_A:g} Å", fontsize=7)
    return png(figure)


def _scale(pictures: Sequence[Array], is_signed: bool) -> tuple[float, float]:
    """Black and white of a row."""
    values = np.concatenate([picture[np.isfinite(picture)] for picture in pictures])
    if not values.size:
        return 0.0, 1.0
    if is_signed:
        most = float(np.percentile(np.abs(values), 99.8)) or 1.0
        return -most, most
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.8)))
    return (low, high) if low < high else (low - 0.5, low + 0.5)
