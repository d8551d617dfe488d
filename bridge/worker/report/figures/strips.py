"""Figures of series of volumes: one small picture of each, in rows, and what changes from the first."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from .canvas import Array, array, label, png, sheet
from .slices import contrast_limits, draw_scale_bar, show_section

_IN_A_ROW = 6
_LEAST_RANGE = 1e-12


def volume_strip(sections: Mapping[str, Tensor | Array], voxel_size_A: float) -> bytes:
    """Sections or projections (h, w) of volumes by name, in rows of six, all on one grey scale."""
    arrays = {name: array(section) for name, section in sections.items()}
    low, high = contrast_limits(list(arrays.values()))
    return _strip(arrays, voxel_size_A, low, high, "gray", f"black {low:.3g}, white {high:.3g} in all volumes")


def difference_strip(sections: Mapping[str, Tensor | Array], voxel_size_A: float) -> bytes:
    """Differences (h, w) by name, in rows of six: red is more, blue is less, white is none, on one scale."""
    arrays = {name: array(section) for name, section in sections.items()}
    finite = np.concatenate([section[np.isfinite(section)] for section in arrays.values()])
    most = max(float(np.percentile(np.abs(finite), 99.8)) if finite.size else 0.0, _LEAST_RANGE)
    return _strip(arrays, voxel_size_A, -most, most, "RdBu_r", f"blue {-most:.3g}, red {most:.3g} in all")


def _strip(arrays: dict[str, Array], voxel_size_A: float, low: float, high: float, colours: str, words: str) -> bytes:
    columns = min(_IN_A_ROW, len(arrays))
    rows = math.ceil(len(arrays) / columns)
    figure = sheet(7.2, 7.2 / columns * rows * 1.15 + 0.25)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, section) in zip(grid.flat, arrays.items(), strict=False):
        show_section(axes, section, low, high, colours)
        axes.set_title(label(name), fontsize=7)
    first = next(iter(arrays.values()))
    draw_scale_bar(grid[0][0], first.shape[0], voxel_size_A)
    figure.supxlabel(words, fontsize=8, color="#444444")
    return png(figure)
