"""The figure of a training: its loss, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .canvas import AFTER, COLOURS, QUIET, Array, array, png, sheet, tidy

_SMOOTHED_OVER = 25  # the window is this part of the training


def loss_curve(losses: Sequence[float], held_out: Sequence[float] = (), held_out_every: int = 1) -> bytes:
    """Loss of each training step, its moving average, and that of crops kept out, one each `held_out_every` steps.

    Values that are not finite leave gaps.
    """
    values = array(list(losses))
    steps = np.arange(1, len(values) + 1)
    figure = sheet(7.2, 3.4)
    axes = figure.add_subplot()
    single = len(values) < 2
    axes.plot(steps, values, color=QUIET, linewidth=0.7, marker="o" if single else "", label="each step")
    if not single:
        axes.plot(steps, moving_average(values), color=COLOURS[0], linewidth=1.8, label="moving average")
    if held_out:
        at = held_out_every * np.arange(1, len(held_out) + 1)
        axes.plot(
            at, array(list(held_out)), color=AFTER, linewidth=1.3, marker="o", markersize=3.5, label="held-out crops"
        )
    axes.set_xlabel("step", fontsize=9)
    axes.set_ylabel("loss", fontsize=9)
    tidy(axes)
    axes.set_xlim(0, max(len(values), held_out_every * len(held_out), 1))
    axes.set_ylim(*_limits(values, array(list(held_out))))
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="upper right")
    return png(figure)


def moving_average(values: Array) -> Array:
    """Average (m,) of the finite values in a window about each step, cut at both ends; NaN where there are none."""
    reach = len(values) // (2 * _SMOOTHED_OVER)
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    first = np.clip(np.arange(len(values)) - reach, 0, None)
    last = np.clip(np.arange(len(values)) + reach + 1, None, len(values))
    here = counts[last] - counts[first]
    return np.where(here > 0, (sums[last] - sums[first]) / np.maximum(here, 1), np.nan)


def _limits(values: Array, held_out: Array) -> tuple[float, float]:
    """From 0 (or below) to a little above all but the very largest losses: the first steps are often off the scale."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    high = float(np.percentile(finite, 99.5)) if finite.size > 20 else float(finite.max())
    high = max(high, float(np.nanmax(np.where(np.isfinite(held_out), held_out, -np.inf), initial=-np.inf)))
    low = min(0.0, float(finite.min()))
    return low, high + 0.08 * max(high - low, 1e-12)
