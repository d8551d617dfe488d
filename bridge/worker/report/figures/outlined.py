"""Sections of a tomogram with the border of its mask, or places in it, drawn over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .canvas import AFTER, Array, array, png, sheet, shown_size
from .slices import contrast_limits, draw_scale_bar, show_section


def outlined_sections(
    sections: Sequence[Array | Tensor], masks: Sequence[Array | Tensor], titles: Sequence[str], voxel_size_A: float
) -> bytes:
    """Three sections (h, w) in grey, and over each where its mask, of the same shape, ends."""
    shown = [array(section) for section in sections]
    low, high = contrast_limits(shown)
    figure = sheet(7.2, 2.75)
    grid = figure.subplots(1, 3, squeeze=False)
    for axes, section, mask, title in zip(grid[0], shown, masks, titles, strict=True):
        show_section(axes, section, low, high, "gray")
        axes.set_title(title, fontsize=9)
        fine = shown_size(array(mask))
        if fine.min() < 0.5 < fine.max():
            height, width = section.shape
            rows, columns = (
                (np.arange(count) + 0.5) * size / count for count, size in zip(fine.shape, (height, width), strict=True)
            )
            if min(fine.shape) > 1:
                axes.contour(columns, rows, fine, levels=[0.5], colors=AFTER, linewidths=0.8)
    draw_scale_bar(grid[0][0], shown[0].shape[0], voxel_size_A)
    return png(figure)


def marked_sections(
    sections: Sequence[Array | Tensor], places: Sequence[Array | Tensor], titles: Sequence[str], voxel_size_A: float
) -> bytes:
    """Three sections (h, w) in grey, and over each points (n, 2), row and column, also those before or behind."""
    shown = [array(section) for section in sections]
    low, high = contrast_limits(shown)
    figure = sheet(7.2, 2.75)
    grid = figure.subplots(1, 3, squeeze=False)
    for axes, section, points, title in zip(grid[0], shown, places, titles, strict=True):
        show_section(axes, section, low, high, "gray")
        axes.set_title(title, fontsize=9)
        rows, columns = array(points).reshape(-1, 2).T
        axes.plot(columns + 0.5, rows + 0.5, "o", color=AFTER, markersize=2.0, alpha=0.7, linestyle="none")
        axes.set_xlim(0, section.shape[1])
        axes.set_ylim(0, section.shape[0])
    draw_scale_bar(grid[0][0], shown[0].shape[0], voxel_size_A)
    return png(figure)
