"""Conditions on the numbers of particles, as users write them: `pc1 > 0.5 and not (defocus_u_A >= 20000)`.

A small language of its own, so that nothing a user writes is ever run as code: comparisons of columns and numbers, a
chain of them (`-1 < z1 < 2`), `and`, `or`, `not`, and brackets. What it means for N particles is worked out elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Comparison = Literal["<", "<=", ">", ">=", "==", "!="]
MAX_CHARACTERS = 2000
MAX_DEPTH = 40
"""Brackets and nots inside of each other."""

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(<=|>=|==|!=|<|>|\(|\)|-))"
)
_WORDS = ("and", "or", "not")


@dataclass(frozen=True)
class Compared:
    """Columns or numbers and what holds between neighbours: `-1 < z1 <= 2` has three operands and two comparisons."""

    operands: tuple[str | float, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Joined:
    """Conditions of which all ("and") or any ("or") must hold."""

    word: Literal["and", "or"]
    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Negated:
    """What holds where a condition does not."""

    part: Condition


Condition = Compared | Joined | Negated


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises
    ------
    ValueError
        If it is none, with what was expected and where.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a condition of more than {MAX_CHARACTERS} characters")
    reader = _ConditionReader(text)
    found = reader.either(0)
    reader.expect_end()
    return found


def columns_of(condition: Condition) -> Iterator[str]:
    """Every column that a condition names, in its order, some perhaps more than once."""
    match condition:
        case Compared(operands):
            yield from (operand for operand in operands if isinstance(operand, str))
        case Joined(_, parts):
            for part in parts:
                yield from columns_of(part)
        case Negated(part):
            yield from columns_of(part)


class _ConditionReader:
    """Goes through the words of a condition from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = list(_words(text))
        self._at = 0

    def either(self, depth: int) -> Condition:
        """Conditions joined by "or"; "and" binds closer."""
        return self._joined("or", depth)

    def expect_end(self) -> None:
        """Complain of what is left."""
        if self._next() is not None:
            raise self._unexpected("'and', 'or', or the end")

    def _joined(self, word: Literal["and", "or"], depth: int) -> Condition:
        parts = [self._part(word, depth)]
        while self._next() == word:
            self._at += 1
            parts.append(self._part(word, depth))
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _part(self, word: Literal["and", "or"], depth: int) -> Condition:
        return self._joined("and", depth) if word == "or" else self._single(depth)

    def _single(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} brackets and nots inside of each other")
        if self._next() == "not":
            self._at += 1
            return Negated(self._single(depth + 1))
        if self._next() == "(":
            self._at += 1
            found = self.either(depth + 1)
            if self._next() != ")":
                raise self._unexpected("')'")
            self._at += 1
            return found
        return self._compared()

    def _compared(self) -> Compared:
        operands: list[str | float] = [self._operand()]
        comparisons: list[Comparison] = []
        while (word := self._comparison()) is not None:
            self._at += 1
            comparisons.append(word)
            operands.append(self._operand())
        if not comparisons:
            raise self._unexpected(f"a comparison ({' '.join(get_args(Comparison))})")
        return Compared(tuple(operands), tuple(comparisons))

    def _comparison(self) -> Comparison | None:
        word = self._next()
        return next((known for known in get_args(Comparison) if known == word), None)

    def _operand(self) -> str | float:
        word = self._next()
        sign = 1.0
        if word == "-":
            self._at += 1
            sign, word = -1.0, self._next()
            if not isinstance(word, float):
                raise self._unexpected("a number")
        if isinstance(word, float):
            self._at += 1
            return sign * word
        if word is None or word in _WORDS or not re.fullmatch(r"[A-Za-z_]\w*", word):
            raise self._unexpected("a column or a number")
        self._at += 1
        return word

    def _next(self) -> str | float | None:
        return self._words[self._at][0] if self._at < len(self._words) else None

    def _unexpected(self, wanted: str) -> ValueError:
        if self._at >= len(self._words):
            return ValueError(f"the condition '{self._text}' ends where {wanted} should follow")
        rest = self._text[self._words[self._at][1] :].strip()
        return ValueError(f"the condition '{self._text}' needs {wanted} where it says '{rest[:40]}'")


def _words(text: str) -> Iterator[tuple[str | float, int]]:
    """Each word, and where it begins; numbers as numbers."""
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"the condition '{text}' has '{text[at:].strip()[:20]}' in it, which means nothing here")
        number, name, sign = match.groups()
        yield (float(number) if number is not None else name or sign), at
        at = match.end()
