"""Lists of numbers as text: how command lines, YAML and other programs' files write them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cryobridge.schemas.number_lists import NumberList, SizeTriple, listed_numbers, triple_of


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ("0.05,0.1", (0.05, 0.1)),
        ("(0.05, 0.10)", (0.05, 0.1)),
        ("[1 2  3]", (1.0, 2.0, 3.0)),
        ([0.05, 0.1], (0.05, 0.1)),
        ((11, 16), (11.0, 16.0)),
        (["0.1,0.2"], (0.1, 0.2)),
        (0, (0.0,)),
        ("1e-3,", (0.001,)),
    ],
)
def test_numbers_are_read_however_they_are_written(given: Any, numbers: tuple[float, ...]) -> None:
    assert listed_numbers(TypeAdapter(NumberList).validate_python(given)) == numbers


@pytest.mark.parametrize("given", ["", "much", "1,,2x", "nan", "inf", True, None, {"a": 1}, [1] * 65])
def test_what_are_no_numbers_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(NumberList).validate_python(given)


@pytest.mark.parametrize(("given", "sizes"), [(3, (3, 3, 3)), ("3,5,1", (3, 5, 1)), ([3, 3, 3], (3, 3, 3))])
def test_sizes_are_one_or_three(given: Any, sizes: tuple[int, int, int]) -> None:
    assert triple_of(TypeAdapter(SizeTriple).validate_python(given)) == sizes


@pytest.mark.parametrize("given", ["3,3", "0", "2.5", "17", "", "3,3,3,3", "-1"])
def test_sizes_that_cannot_be_are_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SizeTriple).validate_python(given)
