"""Codes: one closed set for everybody, what counts as a failure, and words of newer peers."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas import errors
from cryobridge.schemas.codes import Code, ForeignCode, code_of

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [path for folder in ("bridge", "core", "schemas", "wrappers") for path in (ROOT / folder).rglob("*.py")]
TAKE_A_CODE = {"fail", "task_lost", "fail_all", "refuse", "interrupt", "EndedError", "Verdict", "Outcome", "Due"}
TAKE_A_CODE |= {"_lose", "_fail", "_given_up", "CallFailed", "Refused", "TaskFailed", "Answer"}
AS_PLANNED = {
    *("corrected", "not_due", "off", "gradient", "joined", "no_half_sets", "multi_body", "sequential"),
    "two_dimensional",
}


def literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def words_used_as_codes(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each plain text that stands where a code belongs, with its line."""
    for node in ast.walk(tree):
        places: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            places += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            # The used map, an empty text among others, comes before the code of an outcome.
            places += node.args[1:2] if called(node) == "Outcome" else []
            places += node.args[:2] if called(node) in TAKE_A_CODE - {"Outcome"} else []
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            places += [node.value] if any(getattr(target, "id", "") == "code" for target in targets) else []
        elif isinstance(node, ast.Compare) and "code" in (
            getattr(node.left, "attr", ""),
            getattr(node.left, "id", ""),
        ):
            places += node.comparators
        elif isinstance(node, ast.Dict):
            places += [value for key, value in zip(node.keys, node.values, strict=True) if literal(key) == "code"]
        yield from ((word, node.lineno) for place in places if (word := literal(place)) is not None)


def test_a_text_in_a_codes_place_is_found() -> None:
    source = (
        "class A:\n    code = 'a'\n\ndef f(self, code: str = 'x'):\n    self.fail('b', 'sorry')\n"
        "    if code == 'c':\n        return Outcome('standard', 'd', 'line', True), {'code': 'e'}\n    g(code='h')\n"
    )
    found = {word for word, _ in words_used_as_codes(ast.parse(source))}
    assert {"a", "b", "c", "d", "e", "h"} <= found


def test_no_code_is_written_as_a_plain_text() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}"
        for path in SOURCES
        for word, line in words_used_as_codes(ast.parse(path.read_text()))
        # Explanations stand beside codes and are sentences; an error's text is no code.
        if word.replace("_", "").isalpha() and word.islower()
    ]
    assert found == []


def test_every_code_is_used_somewhere() -> None:
    text = "".join(path.read_text() for path in SOURCES if path.name != "codes.py")
    assert [code.name for code in Code if f"Code.{code.name}" not in text] == []


def test_each_error_has_a_code_of_the_set() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.CryobridgeError)]
    assert len(kinds) > 5
    assert all(isinstance(kind.code, Code) and kind.code.is_failure for kind in kinds)


def test_what_is_as_planned_is_no_failure_and_everything_else_is() -> None:
    assert {str(code) for code in Code if not code.is_failure} == AS_PLANNED
    assert Code.DISK_FULL.is_failure


@given(st.text())
def test_a_word_of_a_newer_peer_is_a_failure_and_keeps_its_spelling(word: str) -> None:
    code = code_of(word)
    assert code == word
    assert json.loads(json.dumps({"code": code})) == {"code": word}
    assert isinstance(code, Code if word in list(Code) else ForeignCode)
    assert code.is_failure or word in AS_PLANNED


@pytest.mark.parametrize("code", [*Code, ForeignCode("of the future")])
def test_codes_survive_copying_and_formatting(code: Code | ForeignCode) -> None:
    assert copy.deepcopy(code).is_failure is code.is_failure
    assert f"{code}" == str(code) == code
