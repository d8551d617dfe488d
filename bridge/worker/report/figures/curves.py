"""Figures of curves over resolution: FSC, directional FSC, and Guinier plots."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import Tensor

from ..quantities import angstrom
from .canvas import AFTER, COLOURS, LINES, QUIET, Array, array, frequency_axis, label, png, sheet, tidy


def crossing_shell(curve: Array, threshold: float) -> int | None:
    """Return the last shell before a curve (shells,) first falls below a threshold, as resolutions are read.

    A value that is not a number counts as below. 0 when the first shell is already below, None when no shell is.
    """
    below = np.flatnonzero(~(curve[1:] >= threshold))
    return int(below[0]) if below.size else None


def fsc_curves(
    curves: Mapping[str, Tensor | Array],
    voxel_size_A: float,
    box: int,
    thresholds: Sequence[float] = (0.143, 0.5),
    no_resolutions: Collection[str] = (),
) -> bytes:
    """FSC curves by name, each (shells,) with shell 0 first, and where each crosses the thresholds.

    Triangles stand on the last shell before the curve falls below a threshold. The legend gives the resolution at the
    first threshold. The curves of `no_resolutions` get neither: of half-maps that are not independent, nothing is read.
    """
    figure = sheet(7.2, 4.0)
    axes = figure.add_subplot()
    lowest, longest = 0.0, 2
    for threshold in thresholds:
        axes.axhline(threshold, color="#000000", alpha=0.45, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, (name, values) in enumerate(curves.items()):
        curve = array(values)
        frequency = np.arange(len(curve)) / (box * voxel_size_A)
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(
            frequency,
            curve,
            color=colour,
            linestyle=LINES[number % len(LINES)],
            linewidth=1.6,
            marker="o" if len(curve) < 3 else "",
            label=label(
                f"{name}: {_resolution_words(curve, voxel_size_A, box, thresholds)}"
                if thresholds and name not in no_resolutions
                else name
            ),
        )
        for threshold in () if name in no_resolutions else thresholds:
            shell = crossing_shell(curve, threshold)
            if shell:
                axes.plot(
                    frequency[shell],
                    threshold,
                    marker="^",
                    color=colour,
                    markersize=7.5,
                    markeredgecolor="white",
                    markeredgewidth=0.6,
                )
        lowest = min(lowest, float(np.nanmin(curve, initial=0.0)))
        longest = max(longest, len(curve))
    highest = max(longest - 1, 1) / (box * voxel_size_A)
    for threshold in thresholds:
        axes.annotate(
            f"{threshold:g}", (highest, threshold), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center"
        )
    axes.set_ylim(max(lowest - 0.05, -1.05), 1.05)
    axes.set_ylabel("Fourier shell correlation", fontsize=9)
    tidy(axes)
    frequency_axis(axes, highest)
    if curves:
        axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    return png(figure)


def directional_curves(
    curves: Tensor | Array, voxel_size_A: float, box: int, thresholds: Sequence[float] = (0.143, 0.5)
) -> bytes:
    """FSC curves of many directions (k, shells): each thin, their mean and standard deviation, the best and the worst.

    Best and worst are by the mean of the curve over all shells but 0.
    """
    values = np.atleast_2d(array(curves))
    clean = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    frequency = np.arange(values.shape[1]) / (box * voxel_size_A)
    mean, deviation = clean.mean(axis=0), clean.std(axis=0)
    score = clean[:, 1:].mean(axis=1) if values.shape[1] > 1 else clean[:, 0]
    figure = sheet(7.2, 4.0)
    axes = figure.add_subplot()
    # Several hundred curves are a cloud; more would only cost time.
    for curve in clean[:: math.ceil(len(clean) / 400)]:
        axes.plot(frequency, curve, color=QUIET, linewidth=0.4, alpha=0.5)
    axes.fill_between(
        frequency, mean - deviation, mean + deviation, color=COLOURS[0], alpha=0.25, linewidth=0, label="± 1 s.d."
    )
    for name, curve, colour, line in (
        ("mean", mean, COLOURS[0], "-"),
        ("best direction", clean[int(score.argmax())], COLOURS[2], "--"),
        ("worst direction", clean[int(score.argmin())], AFTER, "-."),
    ):
        words = _resolution_words(curve, voxel_size_A, box, thresholds)
        axes.plot(frequency, curve, color=colour, linestyle=line, linewidth=1.7, label=f"{name}: {words}")
    for threshold in thresholds:
        axes.axhline(threshold, color="#000000", alpha=0.45, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_ylim(max(float(clean.min()) - 0.05, -1.05), 1.05)
    axes.set_ylabel("FSC of one direction", fontsize=9)
    tidy(axes)
    frequency_axis(axes, max(frequency[-1], 1.0 / (box * voxel_size_A)))
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    return png(figure)


def guinier(
    amplitudes: Mapping[str, Tensor | Array],
    inverse_d2: Tensor | Array,
    line: tuple[float, float] | None = None,
    fit_range_A: tuple[float, float] | None = None,
) -> bytes:
    """Guinier plot: logarithms of mean amplitudes by name, each (m,), over 1/d^2 (m,) in 1/A^2.

    Parameters
    ----------
    amplitudes, inverse_d2
        Shells without amplitude are not finite and are left out.
    line
        Intercept and slope (A^2) of a fitted straight line; its B-factor is four times the slope.
    fit_range_A
        Coarsest and finest resolution of the fit; the line is drawn there only.
    """
    places = array(inverse_d2)
    highest = float(np.nanmax(places, initial=1e-6))
    figure = sheet(7.2, 3.8)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(amplitudes.items()):
        curve = array(values)
        axes.plot(
            places,
            np.where(np.isfinite(curve), curve, np.nan),
            color=COLOURS[number % len(COLOURS)],
            linestyle=LINES[number % len(LINES)],
            linewidth=1.5,
            label=label(name),
        )
    if line is not None:
        intercept, slope = line
        ends = np.array([0.0, highest] if fit_range_A is None else [resolution_A**-2 for resolution_A in fit_range_A])
        axes.plot(
            ends,
            intercept + slope * ends,
            color="#000000",
            linewidth=1.0,
            linestyle="--",
            label=f"fit: B = {4 * slope:.0f} Å²",
        )
    axes.set_ylabel("ln of mean amplitude", fontsize=9)
    tidy(axes)
    frequency_axis(axes, highest, squared=True)
    axes.legend(fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    return png(figure)


def _resolution_words(curve: Array, voxel_size_A: float, box: int, thresholds: Sequence[float]) -> str:
    """What a legend says of a curve's resolution at the first threshold."""
    if not thresholds:
        return angstrom(math.nan)
    shell = crossing_shell(curve, thresholds[0])
    if shell is None:
        return f"above {thresholds[0]:g} throughout"
    return angstrom(box * voxel_size_A / shell if shell else math.inf)
