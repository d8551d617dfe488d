"""Numbers in words: resolutions and shares as a reader of reports expects them, whatever the number is."""

from __future__ import annotations

import math

NOT_MEASURED = "not measured"
NOT_KNOWN = "not known"


def angstrom(resolution_A: float) -> str:
    """Return a resolution with its unit; infinite means that nothing is resolved."""
    if math.isnan(resolution_A):
        return NOT_KNOWN
    if math.isinf(resolution_A):
        return NOT_MEASURED
    return f"{resolution_A:.1f} Å" if abs(resolution_A) >= 10 else f"{resolution_A:.2f} Å"


def percent(share: float) -> str:
    """Return a share (1 is all) in per cent; shares that are small but not zero do not read as zero."""
    if not math.isfinite(share):
        return NOT_KNOWN
    if 0 < abs(share) < 0.001:
        return "less than 0.1 %"
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"


def counted(number: int, word: str) -> str:
    """Return a number and what it counts, a word that takes an s where there is more than one, or none."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def in_digits(number: float, decimals: int = 2) -> str:
    """Return a number with so many decimals, and never a minus sign before nothing but zeros."""
    if not math.isfinite(number):
        return NOT_KNOWN
    return f"{round(number, decimals) + 0.0:.{decimals}f}"
