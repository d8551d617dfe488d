"""Figures of new latents beside those of a training, and of how well a model explains images."""

from __future__ import annotations

import math

import numpy as np

from .canvas import AFTER, BEFORE, Array, array, label, png, sheet, tidy

_CELLS = 50
_SHOWN_POINTS = 20_000


def latents_beside(before: Array, after: Array, names: tuple[str, str]) -> bytes:
    """Latents of a training (N, 2) as a density, new ones (K, 2) as points over it; of very many a sample is drawn."""
    figure = sheet(6.0, 4.8)
    axes = figure.add_subplot()
    axes.hexbin(*array(before).T, gridsize=_CELLS, bins="log", mincnt=1, cmap="Greys", linewidths=0.1)
    shown = array(after)[:: max(1, math.ceil(len(after) / _SHOWN_POINTS))]
    size = max(0.6, min(8.0, 2e4 / max(len(shown), 1)))
    axes.scatter(shown[:, 0], shown[:, 1], s=size, color=AFTER, linewidths=0, alpha=0.6, label="new images")
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    axes.set_xlabel(label(names[0]), fontsize=9)
    axes.set_ylabel(label(names[1]), fontsize=9)
    return png(figure)


def densities_beside(before: Array, after: Array, name: str) -> bytes:
    """How values (N,) of a training and new ones (K,) are spread, each as a density."""
    figure = sheet(7.2, 3.0)
    axes = figure.add_subplot()
    both = np.concatenate([array(before), array(after)])
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1.0, 61).tolist()
    axes.hist(array(before), bins=edges, density=True, color=BEFORE, alpha=0.6, label="training")
    axes.hist(array(after), bins=edges, density=True, histtype="step", color=AFTER, linewidth=1.5, label="new images")
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    axes.set_xlabel(label(name), fontsize=9)
    axes.set_ylabel("density", fontsize=9)
    return png(figure)


def value_histogram(values: Array, name: str) -> bytes:
    """How many images have which value (N,); what is not finite is left out."""
    figure = sheet(7.2, 2.8)
    axes = figure.add_subplot()
    found = array(values)
    axes.hist(found[np.isfinite(found)], bins=60, color=BEFORE)
    tidy(axes)
    axes.set_xlabel(label(name), fontsize=9)
    axes.set_ylabel("images", fontsize=9)
    return png(figure)
