"""The bounds are told to users as they are."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

from cryobridge.schemas import bounds

TABLE = Path(__file__).parents[3] / "docs" / "bounds.md"


def test_the_documents_hold_every_bound_with_its_value_and_reason() -> None:
    assert bounds.__file__ is not None
    body = ast.parse(Path(bounds.__file__).read_text()).body
    rows = []
    for declared, why in itertools.pairwise(body):
        if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name):
            assert isinstance(why, ast.Expr)
            name = declared.target.id
            rows.append(f"| {name} | {getattr(bounds, name)} | {' '.join(ast.literal_eval(why.value).split())} |")
    assert rows
    assert [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "Bound |" not in line] == rows
