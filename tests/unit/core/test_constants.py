"""A number of the science that several modules go by has one name and stands in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[3] / "core"


@pytest.mark.parametrize(
    ("number", "place"), [(0.143, "fourier/correlation.py"), (0.999, "directional/noise_weight.py")]
)
def test_a_number_stands_in_one_place(number: float, place: str) -> None:
    """Two copies of a threshold are two thresholds as soon as one of them is changed."""
    found = [
        str(path.relative_to(CORE))
        for path in sorted(CORE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == number
    ]
    assert found == [place]
