"""What the docstrings of `core` say: the shapes of the tensors that a public function takes or gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[3] / "core"
ANY_SHAPE = {"training"}
"""Packages whose tensors are of any shape: the engine knows only that samples come first."""
MODULES = sorted(
    path.relative_to(CORE) for path in CORE.rglob("*.py") if path.relative_to(CORE).parts[0] not in ANY_SHAPE
)
LENGTH = re.compile(r"(\.\.\.|(up to )?\w+( [A-Z])?( ?(\*\*|//|[*+-]) ?\w+)*)")
AXES = {"x", "y", "z"}


def names_a_shape(docstring: str) -> bool:
    """Whether lengths stand in parentheses: (n, n, n // 2 + 1), (d,), (..., h, w); not (z, y, x), not (0, 1)."""
    for inside in re.findall(r"\(([^()]*,[^()]*)\)", docstring):
        lengths = [part.strip() for part in inside.split(",") if part.strip()]
        are_lengths = all(LENGTH.fullmatch(length) for length in lengths) and re.search("[a-zA-Z.]", inside)
        if are_lengths and not AXES.issuperset(lengths):
            return True
    return False


def tensor_functions(source: str) -> Iterator[ast.FunctionDef]:
    """Public functions, and methods of public classes, with a tensor among parameters or results."""
    waiting: list[ast.stmt] = list(ast.parse(source).body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            waiting += node.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [*(argument.annotation for argument in arguments), node.returns]
            if any(re.search(r"\bTensor\b", ast.unparse(one)) for one in annotations if one is not None):
                yield node


def without_a_shape(source: str) -> list[str]:
    """Names of the tensor functions whose docstring names no shape."""
    return [node.name for node in tensor_functions(source) if not names_a_shape(ast.get_docstring(node) or "")]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_tensor_function_names_a_shape(path: Path) -> None:
    assert without_a_shape((CORE / path).read_text()) == []


@pytest.mark.parametrize(
    ("docstring", "named"),
    [
        ("A map (n, n, n).", True),
        ("Real cubes (2 L + 1, 2 L + 1, 2 L + 1).", True),
        ("A curve (n//2+1,).", True),
        ("Lines (..., up to n//2 + 1).", True),
        ("Unit vectors (3 * per_face**2, 3).", True),
        ("In z, y, x order (z, y, x).", False),
        ("A gain in (0, 1).", False),
        ("Two classes (Otsu 1979, doi 10.1109/TSMC.1979.4310076).", False),
    ],
)
def test_a_shape_is_recognised(docstring: str, named: bool) -> None:
    assert names_a_shape(docstring) is named


def test_functions_without_a_shape_are_found() -> None:
    source = """
class Shown:
    def method(self, maps: list[torch.Tensor]) -> None:
        "Nothing is said."
class _Hidden:
    def method(self, volume: Tensor) -> None: ...
def said(volume: Tensor) -> float:
    "A map (n, n, n)."
def unsaid() -> Tensor | None: ...
def no_tensor(n: int) -> int: ...
"""
    assert without_a_shape(source) == ["unsaid", "method"]
