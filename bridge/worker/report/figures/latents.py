"""Figures of latents: where the particles lie, by what, how much each component and dimension holds, and over epochs.

Points are drawn as hexagons by count, or, coloured by a value, as the mean of what lies in each, so that a million
particles make a figure of the same size as a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .canvas import AFTER, COLOURS, LINES, QUIET, Array, array, frequency_axis, label, png, sheet, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 42
_CLUSTER_COLOURS = "turbo"
_MOST_NAMED = 60
_SHOWN_POINTS = 20_000
_COLUMNS = 3


def latent_map(
    points: Array,
    names: tuple[str, str],
    centres: Array | None = None,
    path: Array | None = None,
    numbers: Sequence[int] | None = None,
) -> bytes:
    """How many particles lie where: points (N, 2), centres (K, 2) and a path (P, 2) over them.

    Centres have these K numbers, or are counted from 0 on.
    """
    figure = sheet(6.0, 4.8)
    axes = figure.add_subplot()
    drawn = axes.hexbin(*array(points).T, gridsize=_CELLS, bins="log", mincnt=1, cmap="viridis_r", linewidths=0.1)
    _bar(axes, drawn, "particles")
    if path is not None:
        axes.plot(*array(path).T, color=AFTER, linewidth=1.2, marker="o", markersize=3)
    if centres is not None:
        _numbered(axes, array(centres), range(len(centres)) if numbers is None else numbers)
    _named(axes, names)
    return png(figure)


def latents_by_cluster(points: Array, labels: Array, names: tuple[str, str], centres: Array | None = None) -> bytes:
    """Points (N, 2) coloured by their cluster (N,), counted from 0; of very many a sample is drawn."""
    every = max(1, math.ceil(len(points) / _SHOWN_POINTS))
    figure = sheet(6.0, 4.8)
    axes = figure.add_subplot()
    shown, clusters = array(points)[::every], array(labels)[::every]
    drawn = axes.scatter(
        shown[:, 0],
        shown[:, 1],
        c=clusters,
        s=max(0.6, min(6.0, 3e4 / len(shown))),
        cmap=_CLUSTER_COLOURS,
        linewidths=0,
        alpha=0.7,
    )
    _bar(axes, drawn, "cluster")
    if centres is not None:
        _numbered(axes, array(centres), range(len(centres)))
    _named(axes, names)
    return png(figure)


def latents_by_value(points: Array, values: Mapping[str, Array], names: tuple[str, str]) -> bytes:
    """The mean of each value (N,) by place among points (N, 2), a panel for each; NaN is left out."""
    rows = math.ceil(len(values) / _COLUMNS)
    figure = sheet(7.2, 2.6 * rows)
    grid = figure.subplots(rows, min(_COLUMNS, len(values)), squeeze=False)
    for axes in grid.flat[len(values) :]:
        axes.set_axis_off()
    for axes, (name, of_each) in zip(grid.flat, values.items(), strict=False):
        colours = array(of_each)
        known = np.isfinite(colours)
        drawn = axes.hexbin(
            *array(points)[known].T, C=colours[known], gridsize=_CELLS // 2, mincnt=1, cmap="viridis", linewidths=0.1
        )
        _bar(axes, drawn, "")
        _named(axes, names)
        axes.set_title(label(name), fontsize=9, loc="left")
    return png(figure)


def latent_histogram(values: Array, name: str, marks: Array | None = None) -> bytes:
    """How many particles have which latent (N,), for a latent of one number; marks (K,) are where volumes were made."""
    figure = sheet(7.2, 3.0)
    axes = figure.add_subplot()
    axes.hist(array(values), bins=60, color=COLOURS[0], alpha=0.8)
    for number, place in enumerate([] if marks is None else array(marks)):
        axes.axvline(float(place), color=AFTER, linewidth=0.9, label="volumes" if number == 0 else None)
    if marks is not None:
        axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    axes.set_xlabel(name, fontsize=9)
    axes.set_ylabel("particles", fontsize=9)
    return png(figure)


def variance_explained(shares: Mapping[str, Array]) -> bytes:
    """Shares of the variance by component (K,), those of each name beside each other."""
    figure = sheet(7.2, 3.0)
    axes = figure.add_subplot()
    width = 0.8 / len(shares)
    for number, (name, values) in enumerate(shares.items()):
        heights = 100 * array(values)
        places = np.arange(1, len(heights) + 1) + (number - (len(shares) - 1) / 2) * width
        axes.bar(places, heights, width, color=COLOURS[number % len(COLOURS)], label=label(name))
    tidy(axes)
    axes.set_xlabel("component", fontsize=9)
    axes.set_ylabel("% of the variance", fontsize=9)
    axes.locator_params(axis="x", integer=True)
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def bars(values: Array, across: str, up: str, marks: Mapping[str, float] | None = None) -> bytes:
    """Values (K,) as bars numbered from 0, such as particles per state or KL per dimension, and levels by name."""
    figure = sheet(7.2, 2.8)
    axes = figure.add_subplot()
    axes.bar(np.arange(len(values)), array(values), color=COLOURS[0])
    for number, (name, level) in enumerate((marks or {}).items()):
        axes.axhline(level, color=AFTER, linestyle=LINES[(number + 3) % len(LINES)], linewidth=1.2, label=label(name))
    if marks:
        axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.locator_params(axis="x", integer=True)
    return png(figure)


def over_epochs(epochs: Sequence[float], panels: Mapping[str, Mapping[str, Array]]) -> bytes:
    """Curves (E,) by name over epochs, in panels by what their axis shows; values that are not finite leave gaps."""
    figure = sheet(7.2, 2.4 * len(panels) + 0.2)
    grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)
    for axes, (up, curves) in zip(grid[:, 0], panels.items(), strict=True):
        for number, (name, values) in enumerate(curves.items()):
            axes.plot(
                list(epochs),
                array(values),
                color=COLOURS[number % len(COLOURS)],
                linestyle=LINES[number % len(LINES)],
                marker="o",
                markersize=3,
                label=label(name),
            )
        tidy(axes)
        axes.set_ylabel(up, fontsize=9)
        axes.legend(fontsize=8, frameon=False)
    grid[-1][0].set_xlabel("epoch", fontsize=9)
    return png(figure)


def neighbour_curves(curves: Mapping[str, Array], frequencies: Array) -> bytes:
    """FSC (S,) between neighbouring volumes of series, by name, over spatial frequency (S,) in 1/A."""
    figure = sheet(7.2, 3.4)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(curves.items()):
        colour, line = COLOURS[number % len(COLOURS)], LINES[number // len(COLOURS) % len(LINES)]
        axes.plot(array(frequencies), array(values), color=colour, linestyle=line, linewidth=1.3, label=label(name))
    axes.axhline(0.5, color="#000000", alpha=0.45, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_ylabel("FSC of neighbours", fontsize=9)
    axes.set_ylim(-0.1, 1.05)
    tidy(axes)
    frequency_axis(axes, float(array(frequencies)[-1]))
    axes.legend(fontsize=7, frameon=True, framealpha=0.85, edgecolor="none", loc="lower left", ncols=2)
    return png(figure)


def _numbered(axes: Axes, centres: Array, numbers: Sequence[int]) -> None:
    axes.scatter(centres[:, 0], centres[:, 1], s=14, color=AFTER, edgecolors="white", linewidths=0.6, zorder=3)
    for number, (x, y) in zip(numbers, centres[:_MOST_NAMED], strict=False):
        axes.annotate(str(number), (x, y), textcoords="offset points", xytext=(3, 2), fontsize=7)


def _named(axes: Axes, names: tuple[str, str]) -> None:
    tidy(axes)
    axes.set_xlabel(label(names[0]), fontsize=9)
    axes.set_ylabel(label(names[1]), fontsize=9)


def _bar(axes: Axes, drawn: object, name: str) -> None:
    """The scale of a panel's colours."""
    bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02)  # type: ignore[arg-type]
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_edgecolor(QUIET)
    bar.set_label(name, fontsize=8)
