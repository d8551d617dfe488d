"""Figures of a selection: where the selected particles lie among all, and from which groups they come."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .canvas import AFTER, BEFORE, COLOURS, QUIET, Array, array, label, png, sheet, tidy

_SHOWN_POINTS = 20_000
_MOST_NAMED = 8


def selected_points(points: Array, selected: Array, names: tuple[str, str], outline: Array | None = None) -> bytes:
    """Points (N, 2), those that are selected (N,) in colour, and the outline (C, 2) that was drawn around them."""
    every = max(1, math.ceil(len(points) / _SHOWN_POINTS))
    shown, chosen = array(points)[::every], array(selected)[::every] > 0
    size = max(1.0, min(8.0, 3e4 / len(shown)))
    figure = sheet(6.0, 4.8)
    axes = figure.add_subplot()
    for of_these, colour, name in ((~chosen, QUIET, "the others"), (chosen, COLOURS[0], "selected")):
        axes.scatter(shown[of_these, 0], shown[of_these, 1], s=size, color=colour, linewidths=0, alpha=0.7, label=name)
    if outline is not None:
        closed = np.concatenate([array(outline), array(outline)[:1]])
        axes.plot(*closed.T, color=AFTER, linewidth=1.2, label="outline")
    tidy(axes)
    axes.set_xlabel(label(names[0]), fontsize=9)
    axes.set_ylabel(label(names[1]), fontsize=9)
    axes.legend(fontsize=8, frameon=False, markerscale=2.5)
    return png(figure)


def shares_of_groups(panels: Sequence[tuple[str, Sequence[str], Array]], mean: float) -> bytes:
    """Which share of each group is selected: panels of a title, names (K,) and shares (K,); the mean as a line.

    Names of more than a few are left out: those of micrographs would lie over each other.
    """
    figure = sheet(7.2, 2.2 * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False)
    for axes, (title, names, shares) in zip(grid[:, 0], panels, strict=True):
        axes.bar(np.arange(len(names)), 100 * array(shares), color=COLOURS[0])
        axes.axhline(100 * mean, color=BEFORE, linestyle="--", linewidth=1.0)
        if len(names) <= _MOST_NAMED:
            axes.set_xticks(np.arange(len(names)), [label(name) for name in names], fontsize=8)
        else:
            axes.set_xticks([])
        axes.set_ylim(0, 105)
        tidy(axes, title)
        axes.set_ylabel("% selected", fontsize=9)
    return png(figure)
