"""Figures of the missing wedge: power in the plane of x and z, what a network makes of it, curves over frequency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from .canvas import COLOURS, LINES, Array, array, frequency_axis, label, png, sheet, tidy
from .slices import contrast_limits, draw_scale_bar, show_section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOW, _HIGH = 5.0, 99.7


@dataclass(frozen=True)
class SeenThrough:
    """A volume as a figure shows it: sections across z (y, x) and across y (z, x), and `wedge_spectra`'s logarithms."""

    xy: Tensor | Array
    xz: Tensor | Array
    power: Tensor | Array


def wedge_progress(
    title: str,
    rows: Mapping[str, SeenThrough],
    sectors_deg: Sequence[tuple[float, float]],
    voxel_size_A: float | None = None,
) -> bytes:
    """Volumes by name, a row for each, all on one grey scale and their powers on another, under a title of ours.

    Without a voxel size there is no bar of length.
    """
    seen = {name: [array(one) for one in (row.xy, row.xz, row.power)] for name, row in rows.items()}
    low, high = contrast_limits([section for row in seen.values() for section in row[:2]])
    weak, strong = _power_limits([row[2] for row in seen.values()])
    figure = sheet(7.2, 2.55 * len(seen) + 0.4)
    grid = figure.subplots(len(seen), 3, squeeze=False)
    for axes, (name, (xy, xz, power)) in zip(grid, seen.items(), strict=True):
        show_section(axes[0], xy, low, high, "gray")
        show_section(axes[1], xz, low, high, "gray")
        _show_power(axes[2], power, weak, strong, sectors_deg)
        axes[2].set_xticks([])
        axes[2].set_yticks([])
        axes[0].set_ylabel(label(name), fontsize=9)
        if voxel_size_A is not None:
            draw_scale_bar(axes[0], xy.shape[0], voxel_size_A)
    for axes, name in zip(grid[0], ("xy, across z", "xz, across y", "power, kx and kz"), strict=True):
        axes.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=10)
    return png(figure)


def wedge_spectra(spectra: Mapping[str, Tensor | Array], sectors_deg: Sequence[tuple[float, float]]) -> bytes:
    """Logarithms of power in the plane of kz and kx, DC in the middle, (h, w) each by name, on one scale.

    Lines are drawn at the ends of the measured sectors.
    """
    arrays = {name: array(one) for name, one in spectra.items()}
    low, high = _power_limits(list(arrays.values()))
    figure = sheet(3.4 * len(arrays), 3.6)
    for axes, (name, one) in zip(figure.subplots(1, len(arrays), squeeze=False)[0], arrays.items(), strict=True):
        _show_power(axes, one, low, high, sectors_deg)
        axes.set_title(label(name), fontsize=9)
        axes.set_xlabel("kx (cycles per voxel)", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.axes[0].set_ylabel("kz (cycles per voxel)", fontsize=8)
    return png(figure)


def shell_curves(
    curves: Mapping[str, Tensor | Array], frequencies_per_A: Sequence[float], up: str, marks: Sequence[float] = ()
) -> bytes:
    """Curves (shells,) by name over spatial frequency, with level lines."""
    figure = sheet(7.2, 3.6)
    axes = figure.add_subplot()
    for level in marks:
        axes.axhline(level, color="#000000", alpha=0.45, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, (name, values) in enumerate(curves.items()):
        axes.plot(
            frequencies_per_A,
            array(values),
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number % len(LINES)],
            linewidth=1.6,
            label=label(name),
        )
    axes.set_ylabel(up, fontsize=9)
    tidy(axes)
    frequency_axis(axes, max(frequencies_per_A, default=1.0))
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
    return png(figure)


def _power_limits(logarithms: Sequence[Array]) -> tuple[float, float]:
    values = np.concatenate([one[np.isfinite(one)].ravel() for one in logarithms])
    low, high = (float(value) for value in np.percentile(values, (_LOW, _HIGH))) if values.size else (0.0, 1.0)
    return low, max(high, low + 1e-6)


def _show_power(axes: Axes, power: Array, low: float, high: float, sectors_deg: Sequence[tuple[float, float]]) -> None:
    """Draw a plane of power with dashed lines at the ends of the measured sectors."""
    axes.imshow(power, cmap="gray", vmin=low, vmax=high, extent=(-0.5, 0.5, -0.5, 0.5), origin="lower")
    for end in (end for sector in sectors_deg for end in sector):
        kx, kz = 0.5 * math.cos(math.radians(end)), 0.5 * math.sin(math.radians(end))
        axes.plot((-kx, kx), (-kz, kz), color=COLOURS[5], linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlim(-0.5, 0.5)
    axes.set_ylim(-0.5, 0.5)
