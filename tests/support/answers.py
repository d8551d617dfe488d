"""What RELION gets of a call: which map it is, and what its log says of it."""

from __future__ import annotations

import numpy as np

from .refinement import difference

SAME = 1e-6
"""Relative RMS error of our standard map in float32 against the stock program's."""


def result_lines(call):
    """Lines that say which map RELION gets."""
    return [line for line in call.text.splitlines() if "corrected map" in line or "standard map" in line]


def is_standard(call, stock_maps):
    return difference(call.map(), stock_maps[call.half]) < SAME


def assert_standard(calls, stock_maps, *words):
    for call in calls:
        assert call.status == 0, call.text
        assert is_standard(call, stock_maps), call.text
        line = result_lines(call)[-1]
        assert "standard map" in line, call.text
        assert any(word in line for word in words), f"{words} not in: {call.text}"


def assert_corrected(calls, stock_maps):
    for call in calls:
        assert call.status == 0, call.text
        assert not is_standard(call, stock_maps), call.text
        assert "corrected map" in result_lines(call)[-1]
        assert np.isfinite(call.map()).all()
