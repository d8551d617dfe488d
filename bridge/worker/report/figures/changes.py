"""What a correction changed, drawn over shells and polar angles."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .canvas import Array, array, frequency_axis, label, png, sheet, tidy

# Where there was next to no power before, its share says little more than "new"; it shall not take all the colours.
_ALL = 1.0


def change_map(
    change: Tensor | Array,
    voxel_size_A: float,
    box: int,
    *,
    axis: str = "z",
    title: str = "share of the power that was changed",
) -> bytes:
    """Change (shells, bins) by shell, shell 0 first, and by angle to an axis, in equal steps from 0 to 90 degrees.

    Values of both signs get a diverging scale about 0, others a sequential one from 0 to at most 1. What is not finite
    is grey.
    """
    values = np.atleast_2d(array(change))
    finite = values[np.isfinite(values)]
    signed = bool((finite < 0).any())
    largest = max(float(np.percentile(np.abs(finite), 99)) if finite.size else 1.0, 1e-6)
    if not signed:
        largest = min(largest, _ALL)
    step = 1.0 / (box * voxel_size_A)
    edges = (np.arange(values.shape[0] + 1) - 0.5) * step
    figure = sheet(7.2, 3.6)
    axes = figure.add_subplot()
    axes.set_facecolor("#C9CDD2")
    image = axes.pcolormesh(
        edges,
        np.linspace(0.0, 90.0, values.shape[1] + 1),
        np.ma.masked_invalid(values.T),
        vmin=-largest if signed else 0.0,
        vmax=largest,
        cmap="PuOr_r" if signed else "viridis",
        shading="flat",
        rasterized=True,
    )
    tidy(axes)
    axes.grid(visible=False)
    frequency_axis(axes, float(edges[-1]))
    axes.set_ylabel(f"angle to {label(axis)} (degrees)", fontsize=9)
    axes.set_yticks([0, 15, 30, 45, 60, 75, 90])
    bar = figure.colorbar(image, ax=axes, pad=0.02, extend="both" if signed else "max")
    bar.set_label(label(title), fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return png(figure)
