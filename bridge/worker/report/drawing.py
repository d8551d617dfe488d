"""Curves over iterations as SVG: drawn in a millisecond, for a call of RELION that must not wait for matplotlib."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

from .printable import printable

WIDTH, HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 44, 48
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
_MARKS = 5
Curve = Mapping[int, float]
"""Value by iteration; iterations without one are passed over."""


def over_iterations(curves: Mapping[str, Curve], unit: str, lowest: float | None = None) -> str:
    """Draw curves by name over iterations, each told apart by colour and dashes, with its points.

    Parameters
    ----------
    unit
        What the vertical axis shows.
    lowest
        Where the vertical axis begins; None: a little below the smallest value.
    """
    points = [(place, value) for curve in curves.values() for place, value in curve.items() if math.isfinite(value)]
    first, last = min((x for x, _ in points), default=0), max((x for x, _ in points), default=1)
    low = min((y for _, y in points), default=0.0) if lowest is None else min([lowest, *(y for _, y in points)])
    high = max((y for _, y in points), default=1.0)
    room = 0.06 * (high - low) or 0.5
    low, high = (low - room if lowest is None else low), high + room

    def across(iteration: float) -> float:
        return _LEFT + (iteration - first + 0.5) / (last - first + 1) * (WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for number in range(_MARKS + 1):
        value = low + number / _MARKS * (high - low)
        y = down(value)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#dcdfe4"/>')
        parts.append(_words(_LEFT - 6, y + 4, f"{value:.2f}" if high - low < 5 else f"{value:.1f}", "end"))
    every = max(1, math.ceil((last - first + 1) / 20))
    parts += [_words(across(x), HEIGHT - _BOTTOM + 18, str(x), "middle") for x in range(first, last + 1, every)]
    parts.append(_words((WIDTH + _LEFT) / 2, HEIGHT - 8, "iteration", "middle"))
    parts.append(_words(4, 14, unit, "start"))
    for number, (name, curve) in enumerate(curves.items()):
        colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
        line = [(across(x), down(y)) for x, y in sorted(curve.items()) if math.isfinite(y)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in line]
        at = _LEFT + number * (WIDTH - _LEFT - _RIGHT) / max(len(curves), 1)
        parts.append(f'<line x1="{at:.0f}" y1="30" x2="{at + 26:.0f}" y2="30" {stroke}/>')
        parts.append(_words(at + 32, 34, name, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _words(x: float, y: float, text: str, anchor: str) -> str:
    clean = html.escape(printable(text))
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#1c1e21">{clean}</text>'
