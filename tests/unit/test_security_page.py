"""docs/security.md names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def named(repository: Path) -> list[tuple[str, str]]:
    return NAMED.findall((repository / "docs" / "security.md").read_text())


def test_it_names_many(repository: Path) -> None:
    assert len(named(repository)) > 40


@pytest.mark.parametrize("what", ["file", "function"])
def test_every_test_it_names_is_there(repository: Path, what: str) -> None:
    missing = []
    for file, function in named(repository):
        path = repository / file
        if what == "file":
            missing += [file] * (not path.is_file())
        elif function and path.is_file():
            tree = ast.parse(path.read_text())
            names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            missing += [f"{file}::{function}"] * (function not in names)
    assert missing == []
