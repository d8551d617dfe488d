"""Lists of numbers as text, `1,2,3`: how command lines have them, and what lists of YAML and JSON become."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_MOST_NUMBERS = 64


def as_list_text(value: Any) -> Any:
    """A number or a list as text; brackets and blanks of other programs' lists are left out."""
    if isinstance(value, list | tuple):
        return ",".join(str(as_list_text(one)) for one in value)
    if isinstance(value, str):
        return re.sub(r"[\s,]+", ",", value.strip().strip("()[]").strip().strip(","))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def listed_numbers(text: str) -> tuple[float, ...]:
    """The numbers of a list.

    Raises
    ------
    ValueError
        If one is none or is not finite, or there are too many.
    """
    words = text.split(",")
    if len(words) > _MOST_NUMBERS:
        raise ValueError(f"more than {_MOST_NUMBERS} numbers")
    found = []
    for word in words:
        try:
            number = float(word)
        except ValueError:
            number = float("nan")
        if not abs(number) < 1e9:
            raise ValueError(f"'{word[:40]}' should be a number, with commas between several")
        found.append(number)
    return tuple(found)


def _numbers(text: str) -> str:
    listed_numbers(text)
    return text


def _triple(text: str) -> str:
    """One size for all axes, or z,y,x."""
    numbers = listed_numbers(text)
    if len(numbers) not in (1, 3) or any(one != int(one) or not 1 <= one <= 16 for one in numbers):
        raise ValueError(f"'{text[:40]}' should be one whole number or three (z,y,x), from 1 to 16")
    return ",".join(str(int(one)) for one in (numbers * 3)[:3])


def triple_of(text: str) -> tuple[int, int, int]:
    """The sizes (z, y, x) of a text of `SizeTriple`."""
    z, y, x = (int(one) for one in listed_numbers(text))
    return z, y, x


NumberList = Annotated[str, BeforeValidator(as_list_text), AfterValidator(_numbers)]
"""One number or several."""
SizeTriple = Annotated[str, BeforeValidator(as_list_text), AfterValidator(_triple)]
"""Sizes along z, y and x; one number stands for all three."""
