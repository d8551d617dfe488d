"""Figures of what a correction changed: a map over shells and polar angles, and bars before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .canvas import AFTER, BEFORE, Array, array, frequency_axis, label, png, sheet, tidy

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


def bars(
    names: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    *,
    quantity: str = "mean FSC",
    series: tuple[str, str] = ("before", "after"),
) -> bytes:
    """Two bars for each name, such as a bin of directions; the numbers stand above them."""
    figure = sheet(7.2, 3.2)
    axes = figure.add_subplot()
    place = np.arange(len(names))
    for offset, values, colour, name in (
        (-0.2, before, BEFORE, series[0]),
        (0.2, after, AFTER, series[1]),
    ):
        heights = array(list(values))
        drawn = axes.bar(
            place + offset, np.where(np.isfinite(heights), heights, 0.0), width=0.36, color=colour, label=label(name)
        )
        if len(names) <= 12:
            texts = [f"{height:.2f}" if np.isfinite(height) else "–" for height in heights]
            axes.bar_label(drawn, texts, fontsize=7, padding=2)
    axes.axhline(0.0, color="#000000", linewidth=0.8)
    axes.set_xticks(place, [label(name) for name in names])
    axes.set_ylabel(label(quantity), fontsize=9)
    tidy(axes)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.18)
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    return png(figure)
