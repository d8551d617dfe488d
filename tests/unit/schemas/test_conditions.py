"""Conditions on the numbers of particles: what they mean, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.conditions import Compared, Joined, Negated, columns_of, parse_condition


def test_a_comparison() -> None:
    assert parse_condition("pc1 > 0.5") == Compared(("pc1", 0.5), (">",))


def test_a_chain_of_comparisons() -> None:
    assert parse_condition("-1e1<z1<=.5") == Compared((-10.0, "z1", 0.5), ("<", "<="))


def test_and_binds_closer_than_or() -> None:
    found = parse_condition("a > 1 or b > 2 and c > 3")
    assert found == Joined("or", (Compared(("a", 1.0), (">",)), parse_condition("b > 2 and c > 3")))


def test_brackets_and_not() -> None:
    found = parse_condition("not (a == 1 or b != 2) and c >= 3")
    assert isinstance(found, Joined)
    assert found.word == "and"
    assert found.parts[0] == Negated(parse_condition("a == 1 or b != 2"))


def test_the_columns_it_names() -> None:
    assert list(columns_of(parse_condition("not a > 1 and (b < c or a < 2)"))) == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ends where a column or a number should follow"),
        ("pc1", "ends where a comparison"),
        ("pc1 > ", "ends where a column or a number"),
        ("pc1 > 1 z2 < 3", "needs 'and', 'or', or the end where it says 'z2 < 3'"),
        ("(pc1 > 1", "ends where ')'"),
        ("pc1 = 1", "means nothing here"),
        ("pc1 > -z1", "needs a number where it says 'z1'"),
        ("__import__('os')", "means nothing here"),
        ("and > 1", "needs a column or a number"),
        ("(" * 60 + "a > 1" + ")" * 60, "brackets and nots"),
        ("a > 1 and " * 400 + "a > 1", "characters"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_condition(text)
    assert said in str(error.value)


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        found = parse_condition(text)
    except ValueError:
        return
    assert list(columns_of(found)) or any(mark in text for mark in "<>=")
