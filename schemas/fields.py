"""Fields of frames: for each kind of value, what is accepted from outside and how it is written.

Standard library only. Used as `fields.text(...)`, because there are fields that are called `text`, `line` and `code`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from .codes import AnyCode, code_of
from .wire import Message

MAX_LINE_CHARACTERS = 4000
REQUIRED: Final = object()
_MAX_TABLE_ENTRIES = 512
_LARGEST = 1e300


class Complaint(Exception):  # noqa: N818 - never leaves the schemas
    """What is wrong with a field, beginning with its name."""


class Structured(Protocol):
    """The part of `frames.Record` that fields need."""

    def __init__(self, **values: Any) -> None:
        """Take the fields."""

    @classmethod
    def read_fields(cls, values: Mapping[str, object]) -> dict[str, Any]:
        """The fields out of a JSON object, checked."""

    def as_values(self) -> Message:
        """The fields as JSON values."""


class FieldRule:
    """How one field is read and written.

    Attributes
    ----------
    read
        Takes the field's name and a JSON value; returns the value or raises a complaint.
    default
        What an absent or null field means.
    write
        Makes a JSON value; None for values that are JSON already.
    omitted
        Whether a field that is None is left out of the message; otherwise it is sent as null.
    """

    __slots__ = ("default", "omitted", "read", "write")

    def __init__(
        self,
        read: Callable[[str, object], Any],
        default: object = REQUIRED,
        write: Callable[[Any], object] | None = None,
        *,
        omitted: bool = False,
    ) -> None:
        self.read = read
        self.default = default
        self.write = write
        self.omitted = omitted


def text(limit: int, *, least: int = 0, default: Any = REQUIRED, omitted: bool = False) -> Any:
    """A text of `least` to `limit` characters without NUL."""

    def read(name: str, value: object) -> str:
        if not isinstance(value, str) or not least <= len(value) <= limit or "\0" in value:
            raise Complaint(f"'{name}' must be a text of {least} to {limit} characters")
        return value

    return FieldRule(read, default, omitted=omitted)


def line(*, default: Any = REQUIRED, limit: int = MAX_LINE_CHARACTERS) -> Any:
    """A text for people. One that is too long is cut: nothing may fail because its explanation is long."""

    def read(name: str, value: object) -> str:
        if not isinstance(value, str):
            raise Complaint(f"'{name}' must be a text")
        return value[:limit]

    return FieldRule(read, default)


def document(limit: int, *, default: Any = REQUIRED) -> Any:
    """A file's text of at most `limit` characters, whatever they are."""

    def read(name: str, value: object) -> str:
        if not isinstance(value, str) or len(value) > limit:
            raise Complaint(f"'{name}' must be a text of bounded length")
        return value

    return FieldRule(read, default)


def choice(*words: str, default: Any = REQUIRED) -> Any:
    """One of a few words."""

    def read(name: str, value: object) -> str:
        if value not in words:
            raise Complaint(f"'{name}' must be {' or '.join(words)}")
        return str(value)

    return FieldRule(read, default)


def count(least: int, *, default: Any = REQUIRED, omitted: bool = False) -> Any:
    """A whole number from `least` on, below a million: iterations, classes."""

    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 10**6:
            raise Complaint(f"'{name}' must be a number from {least} on")
        return value

    return FieldRule(read, default, omitted=omitted)


def whole(least: int, most: int, *, default: Any = REQUIRED, omitted: bool = False) -> Any:
    """A whole number; true and false are none."""

    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Complaint(f"'{name}' must be a number from {least} to {most}")
        return value

    return FieldRule(read, default, omitted=omitted)


def number(least: float = -_LARGEST, most: float = _LARGEST, *, default: Any = REQUIRED, omitted: bool = False) -> Any:
    """A finite number."""

    def read(name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise Complaint(f"'{name}' must be a finite number" + ("" if least < 0 else f" from {least:g} on"))
        return float(value)

    return FieldRule(read, default, omitted=omitted)


def fraction(*, default: Any = REQUIRED) -> Any:
    """How much is done; whatever is no number counts as not known, because progress decides nothing."""

    def read(name: str, value: object) -> float | None:
        try:
            return float(number().read(name, value))
        except Complaint:
            return None

    return FieldRule(read, default)


def figure(*, default: Any = REQUIRED) -> Any:
    """A number for people to read; whatever is no finite number counts as not known, because it decides nothing."""
    return fraction(default=default)


def flag(*, default: Any = REQUIRED) -> Any:
    """True or false."""

    def read(name: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise Complaint(f"'{name}' must be true or false")
        return value

    return FieldRule(read, default)


def code(*, default: Any = REQUIRED) -> Any:
    """A code, known or not; None is written as an empty text."""

    def read(name: str, value: object) -> AnyCode | None:
        if value == "" and default is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= 64:
            raise Complaint(f"'{name}' must be a code of 1 to 64 characters")
        return code_of(value)

    return FieldRule(read, default, lambda value: "" if value is None else str(value))


def table(*, default: Any = REQUIRED) -> Any:
    """An object whose content is somebody else's to check."""

    def read(name: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Complaint(f"'{name}' must be an object")
        return value

    return FieldRule(read, default)


def texts(*, default: Any = REQUIRED) -> Any:
    """An object of at most 512 texts."""

    def read(name: str, value: object) -> dict[str, str]:
        if not isinstance(value, dict) or len(value) > _MAX_TABLE_ENTRIES:
            raise Complaint(f"'{name}' must hold texts")
        if not all(isinstance(one, str) for one in value.values()):
            raise Complaint(f"'{name}' must hold texts")
        return value

    return FieldRule(read, default)


def checked(read: Callable[[str, object], Any], *, default: Any = REQUIRED) -> Any:
    """A field with a reading of its own; a tuple is written as a list.

    `read` takes name and value, and returns the value or raises `ValueError` with a sentence that names the field.
    """

    def reading(name: str, value: object) -> Any:
        try:
            return read(name, value)
        except ValueError as error:
            raise Complaint(str(error)) from None

    return FieldRule(reading, default, lambda value: list(value) if isinstance(value, tuple) else value)


def record(kind: type[Structured], *, default: Any = REQUIRED, omitted: bool = False) -> Any:
    """An object with typed fields of its own."""

    def write(value: Structured | None) -> Message | None:
        return None if value is None else value.as_values()

    return FieldRule(lambda name, value: _read_record(kind, name, value), default, write, omitted=omitted)


def records(kind: type[Structured], *, default: Any = REQUIRED) -> Any:
    """An object of such objects."""

    def read(name: str, value: object) -> dict[str, Structured]:
        if not isinstance(value, dict) or len(value) > _MAX_TABLE_ENTRIES:
            raise Complaint(f"'{name}' must be an object")
        return {key: _read_record(kind, name, one) for key, one in value.items()}

    def write(value: Mapping[str, Structured]) -> Message:
        return {key: one.as_values() for key, one in value.items()}

    return FieldRule(read, default, write)


def _read_record(kind: type[Structured], name: str, value: object) -> Structured:
    if not isinstance(value, dict):
        raise Complaint(f"'{name}' must be an object")
    return kind(**kind.read_fields(value))
