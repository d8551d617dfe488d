"""Figures of the missing wedge: power in the plane of x and z, and curves over frequency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from .canvas import COLOURS, LINES, Array, array, frequency_axis, label, png, sheet, tidy

_LOW, _HIGH = 5.0, 99.7


def wedge_spectra(spectra: Mapping[str, Tensor | Array], sectors_deg: Sequence[tuple[float, float]]) -> bytes:
    """Logarithms of power in the plane of kz and kx, DC in the middle, (h, w) each by name, on one scale.

    Lines are drawn at the ends of the measured sectors.
    """
    arrays = {name: array(one) for name, one in spectra.items()}
    values = np.concatenate([one[np.isfinite(one)].ravel() for one in arrays.values()])
    low, high = (float(value) for value in np.percentile(values, (_LOW, _HIGH))) if values.size else (0.0, 1.0)
    figure = sheet(3.4 * len(arrays), 3.6)
    for axes, (name, one) in zip(figure.subplots(1, len(arrays), squeeze=False)[0], arrays.items(), strict=True):
        axes.imshow(
            one, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=(-0.5, 0.5, -0.5, 0.5), origin="lower"
        )
        for end in (end for sector in sectors_deg for end in sector):
            kx, kz = 0.5 * math.cos(math.radians(end)), 0.5 * math.sin(math.radians(end))
            axes.plot((-kx, kx), (-kz, kz), color=COLOURS[5], linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_title(label(name), fontsize=9)
        axes.set_xlabel("kx (cycles per voxel)", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_xlim(-0.5, 0.5)
        axes.set_ylim(-0.5, 0.5)
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
