"""Figures of maps in real space: central sections at equal contrast, and the spread of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from .canvas import Array, array, label, png, sheet, shown_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_PLANES = ("xy, across z", "xz, across y", "yz, across x")
_DARK, _BRIGHT = 0.5, 99.8  # percentiles
# Voxels that are larger than a pixel are shown as they are: nothing is invented, and the picture packs better.
_SHOWN_AS_SQUARES = 320


def central_sections(volume: Tensor | Array) -> tuple[Array, Array, Array]:
    """Return the central sections of a map (n, n, n): across z (y, x), across y (z, x) and across x (z, y)."""
    n = volume.shape[0]
    middle = n // 2
    return array(volume[middle]), array(volume[:, middle]), array(volume[:, :, middle])


def contrast_limits(sections: Sequence[Array]) -> tuple[float, float]:
    """Return black and white for all sections together: percentiles 0.5 and 99.8 of all that is finite in them.

    Every map of a figure gets these, so that what looks stronger is stronger. Always two different numbers.
    """
    values = np.concatenate([section[np.isfinite(section)] for section in sections])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (_DARK, _BRIGHT)))
    if low < high:
        return low, high
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def scale_bar_A(side_A: float) -> float:
    """Return a round length in Angstrom (1, 2 or 5 times a power of ten), at most three tenths of a box's side."""
    longest = 0.3 * side_A
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def orthoslices(maps: Mapping[str, Tensor | Array], voxel_size_A: float) -> bytes:
    """Central sections of maps (n, n, n), one row for each, all on one grey scale; the bar tells the length.

    All maps have the same voxel size; their boxes may differ.
    """
    return section_rows({name: central_sections(volume) for name, volume in maps.items()}, _PLANES, voxel_size_A)


def section_rows(rows: Mapping[str, Sequence[Tensor | Array]], titles: Sequence[str], voxel_size_A: float) -> bytes:
    """Sections (h, w), a row of three by name and a title for each column, all on one grey scale.

    All have the same pixel size; their sides may differ.
    """
    arrays = {name: [array(section) for section in sections] for name, sections in rows.items()}
    low, high = contrast_limits([section for sections in arrays.values() for section in sections])
    figure = sheet(7.2, 2.55 * len(arrays) + 0.2)
    grid = figure.subplots(len(arrays), 3, squeeze=False)
    for row, (name, sections) in enumerate(arrays.items()):
        for column, section in enumerate(sections):
            axes = grid[row][column]
            show_section(axes, section, low, high, "gray")
            if row == 0:
                axes.set_title(titles[column], fontsize=9)
        grid[row][0].set_ylabel(label(name), fontsize=9)
        draw_scale_bar(grid[row][0], sections[0].shape[0], voxel_size_A)
    figure.supxlabel(f"black {low:.3g}, white {high:.3g} in all maps", fontsize=8, color="#444444")
    return png(figure)


def spread_slices(mean: Tensor | Array, spread: Tensor | Array, voxel_size_A: float) -> bytes:
    """Central sections of the mean of an ensemble of maps and of their standard deviation, (n, n, n), in its units."""
    figure = sheet(7.2, 4.9)
    grid = figure.subplots(2, 3, squeeze=False)
    of_mean, of_spread = central_sections(mean), central_sections(spread)
    low, high = contrast_limits(of_mean)
    _, most = contrast_limits(of_spread)
    for column in range(3):
        show_section(grid[0][column], of_mean[column], low, high, "gray")
        image = show_section(grid[1][column], of_spread[column], 0.0, max(most, 1e-12), "magma")
        grid[0][column].set_title(_PLANES[column], fontsize=9)
    grid[0][0].set_ylabel("mean map", fontsize=9)
    grid[1][0].set_ylabel("spread (1 s.d.)", fontsize=9)
    draw_scale_bar(grid[0][0], of_mean[0].shape[0], voxel_size_A)
    bar = figure.colorbar(image, ax=list(grid[1]), fraction=0.03, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    return png(figure)


def show_section(axes: Axes, section: Array, low: float, high: float, colours: str) -> AxesImage:
    """Draw a section in its own voxels, with neither ticks nor frame."""
    height, width = section.shape
    image = axes.imshow(
        shown_size(section),
        cmap=colours,
        vmin=low,
        vmax=high,
        origin="lower",
        extent=(0, width, 0, height),
        interpolation="nearest" if max(height, width) <= _SHOWN_AS_SQUARES else "auto",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return image


def draw_scale_bar(axes: Axes, side: int, voxel_size_A: float) -> None:
    """Draw a round length into the lower left corner of a section of `side` voxels."""
    length_A = scale_bar_A(side * voxel_size_A)
    left, bottom = 0.05 * side, 0.05 * side
    outline = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 1.2}
    # The bar belongs to a section that may be wider than high, and must not change what is shown of it.
    axes.autoscale(False)
    axes.plot(
        [left, left + length_A / voxel_size_A], [bottom, bottom], color="white", linewidth=3, solid_capstyle="butt"
    )
    axes.text(left, 0.09 * side, f"{length_A:g} Å", color="white", fontsize=8, va="bottom", bbox=outline)
