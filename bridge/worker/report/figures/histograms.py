"""The figure of resolutions over directions, counted."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..quantities import angstrom
from .canvas import AFTER, COLOURS, Array, array, png, sheet, tidy

_BINS = 30


def resolution_histogram(resolutions_A: Tensor | Array) -> bytes:
    """How many directions reach which resolution in Angstrom, (k,); those that are not measured are told, not drawn."""
    values = array(resolutions_A)
    finite = values[np.isfinite(values) & (values > 0)]
    figure = sheet(7.2, 3.0)
    axes = figure.add_subplot()
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        margin = 0.0 if high > low * 1.001 else 0.05 * low
        # 100 times the share, so that the axis reads in per cent of all directions.
        share = np.full(finite.size, 100.0 / values.size)
        axes.hist(finite, bins=_BINS, range=(low - margin, high + margin), weights=share, color=COLOURS[0], alpha=0.8)
        for name, place, line in (
            ("mean", float(finite.mean()), "-"),
            ("median", float(np.median(finite)), "--"),
            ("worst 5 % from here", float(np.percentile(finite, 95)), ":"),
        ):
            axes.axvline(place, color=AFTER, linestyle=line, linewidth=1.4, label=f"{name}: {angstrom(place)}")
        axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    missing = 100.0 * (1 - finite.size / max(values.size, 1))
    axes.set_xlabel(
        "resolution of a direction (Å)" + (f"; {missing:.0f} % of the directions are not measured" if missing else ""),
        fontsize=9,
    )
    axes.set_ylabel("% of directions", fontsize=9)
    tidy(axes)
    return png(figure)
