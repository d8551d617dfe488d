"""The figure of amplitudes: what is left of them, shell by shell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from .canvas import COLOURS, LINES, Array, array, frequency_axis, label, png, sheet, tidy

_LEAST_TOP, _MOST_TOP = 1.5, 3.0


def amplitude_ratios(curves: Mapping[str, Tensor | Array], voxel_size_A: float, box: int) -> bytes:
    """Ratios of amplitudes by name, each (shells,) with shell 0 first; 1 is the same. What is not finite is left out.

    The first two curves are solid, others dashed.
    """
    figure = sheet(7.2, 3.6)
    axes = figure.add_subplot()
    axes.axhline(1.0, color="#000000", alpha=0.45, linewidth=0.8, linestyle=(0, (4, 3)))
    last, top = 2, _LEAST_TOP
    for number, (name, values) in enumerate(curves.items()):
        curve = array(values)
        finite = np.flatnonzero(np.isfinite(curve))
        axes.plot(
            np.arange(len(curve)) / (box * voxel_size_A),
            np.where(np.isfinite(curve), curve, np.nan),
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number % len(LINES)] if number < 2 else "--",
            linewidth=1.6,
            label=label(name),
        )
        if finite.size:
            last = max(last, int(finite[-1]))
            top = max(top, min(float(np.percentile(curve[finite], 95)) * 1.1, _MOST_TOP))
    axes.set_ylim(0.0, top)
    axes.set_ylabel("ratio of amplitudes", fontsize=9)
    tidy(axes)
    frequency_axis(axes, (last + 0.5) / (box * voxel_size_A))
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    return png(figure)
