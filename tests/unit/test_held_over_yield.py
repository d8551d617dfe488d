"""No generator holds a state of the whole process over a yield: it would reach whatever runs between two steps."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "bridge", "core", "schemas", "wrappers")
GLOBAL_STATES = {
    "no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "autocast", "errstate", "catch_warnings",
}  # fmt: skip
"""Context managers that switch something for the process or the thread, not for an object."""
NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.GeneratorExp)


def name_of(used: ast.expr) -> str:
    """The last word of `torch.no_grad()`, `no_grad` and the like."""
    target = used.func if isinstance(used, ast.Call) else used
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def own(node: ast.AST) -> Iterator[ast.AST]:
    """What runs as part of a node, not in a function that is only defined there."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, NESTED):
            yield child
            yield from own(child)


def yields(node: ast.AST) -> bool:
    """Whether a node yields by itself."""
    return any(isinstance(one, ast.Yield | ast.YieldFrom) for one in own(node))


def offences(source: str) -> list[int]:
    """Lines where a state of the whole process is held over a yield."""
    found: list[int] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.With | ast.AsyncWith):
            held = [item.context_expr for item in node.items]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            held = node.decorator_list
        else:
            continue
        if any(name_of(one) in GLOBAL_STATES for one in held) and yields(node):
            found.append(node.lineno)
    return found


def test_nothing_of_the_program_holds_a_global_state_over_a_yield() -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True).stdout
    files = [Path(name) for name in listed.split("\0") if name] or [one.relative_to(ROOT) for one in ROOT.rglob("*.py")]
    program = [path for path in files if path.parts[0] in FOLDERS and (ROOT / path).is_file()]
    assert len(program) > 100
    found = [f"{path}:{line}" for path in program for line in offences((ROOT / path).read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def a():\n with torch.no_grad():\n  yield 1", [2]),
        ("def a():\n with torch.no_grad(), b() as c:\n  for d in c:\n   yield from d", [2]),
        ("@torch.inference_mode()\ndef a():\n yield 1", [2]),
        ("@no_grad\ndef a():\n x = yield", [2]),
        ("def a():\n with torch.no_grad():\n  b()\n yield 1", []),
        ("def a():\n with torch.no_grad():\n  def b():\n   yield 1", []),
        ("def a():\n with opened() as b:\n  yield b", []),
    ],
)
def test_the_check_sees_what_it_should(source: str, lines: list[int]) -> None:
    assert offences(source) == lines
