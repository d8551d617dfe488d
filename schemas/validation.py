"""One sentence out of a failed validation: which key of which file, what is wrong, and the nearest key there is."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from .bounds import MAX_SENTENCE_CHARACTERS
from .errors import OptionsInvalid

_MOST_CHARACTERS = 80
_MOST_BITS = 256
_LONGEST_KEY = 120
_PLAIN_WORDS = {
    "bool_parsing": "Input should be true or false",
    "bool_type": "Input should be true or false",
    "dict_type": "Input should be lines of 'key: value'",
    "float_parsing": "Input should be a valid number",
    "float_type": "Input should be a valid number",
    "int_from_float": "Input should be a whole number",
    "int_parsing": "Input should be a whole number",
    "int_parsing_size": "Input should be a whole number of a sensible size",
    "int_type": "Input should be a whole number",
    "list_type": "Input should be a list",
    "missing": "is missing",
    "model_attributes_type": "Input should be lines of 'key: value'",
    "model_type": "Input should be lines of 'key: value'",
    "path_type": "Input should be a path",
    "string_pattern_mismatch": "Input is not written as it should be",
    "string_type": "Input should be text",
    "tuple_type": "Input should be a list",
}
"""For pydantic's kinds of errors whose own words only a programmer understands."""


class StrictModel(BaseModel):
    """A model whose unknown keys are errors and whose fields cannot be changed after checking."""

    # Built at first use: a command loads the models of all kinds, and checks one.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, defer_build=True)

    @classmethod
    def group_of(cls, field: str) -> str:
        """The heading that a field is shown under; empty for those that need none."""
        return ""

    @classmethod
    def defaults_on(cls, device: str) -> dict[str, Any]:
        """Defaults that depend on the device ("cpu" or "cuda"), by field; the others are the fields' own."""
        return {}


def input_invalid(
    error: ValidationError, model: type[BaseModel], source: str, given: Mapping[str, Any] | None = None
) -> OptionsInvalid:
    """Turn pydantic's report into the one sentence a user needs.

    Parameters
    ----------
    error
        What pydantic raised.
    model
        The model that was validated, for its field names.
    source
        Where the values came from, e.g. a file name.
    given
        The values themselves, so that a key is called as it was written, not by its first name.
    """
    # A misspelt key also leaves its right name missing; the misspelling is what to tell.
    first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    place = _as_written([str(part) for part in first["loc"]], model, given or {})
    where = ".".join(place)
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    where = where if len(where) <= _LONGEST_KEY else f"{where[:_LONGEST_KEY]}..."
    if first["type"] == "extra_forbidden":
        return OptionsInvalid(source, f"unknown key '{where}'{nearest_key(where, model)}{more}", place)
    value = first.get("input")
    what = _PLAIN_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    said = isinstance(value, dict | list) or what.startswith(short(value))
    shown = "" if first["type"] == "missing" or said else f" (it is {short(value)})"
    return OptionsInvalid(source, f"'{where}': {what}{shown}{more}" if where else f"{what}{more}", place)


def _as_written(loc: list[str], model: type[BaseModel], given: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that lead to an error, each by the one of its names that was used."""
    place, inner, values = [], [model], given
    for part in loc:
        fields = [item for one in inner for item in one.model_fields.items() if part in (item[0], *names_of(*item))]
        known = [part, *(name for item in fields for name in names_of(*item))]
        word = next((name for name in known if name in values), part)
        place.append(word)
        below = values.get(word)
        values = below if isinstance(below, Mapping) else {}
        inner = [found for _, field in fields for found in _models_in(field.annotation)]
    return tuple(place)


def nearest_key(unknown: str, model: type[BaseModel]) -> str:
    """Say "; did you mean 'x'?" where a key of `model` is near enough to `unknown`, else list what there is.

    Keys of models inside are named with their place, e.g. `options.half_angle_deg`.
    """
    # Members of a list are counted, and have the same keys.
    section, _, word = ".".join(part for part in unknown.split(".") if not part.isdecimal()).rpartition(".")
    known = sorted(set(_keys(model)))
    last_words = {key.rpartition(".")[2] for key in known}
    near = difflib.get_close_matches(word, last_words, n=1, cutoff=0.6)
    if near:
        places = [key for key in known if key.rpartition(".")[2] == near[0]]
        here = f"{section}.{near[0]}" if section else near[0]
        return f"; did you mean '{here if here in places else places[0]}'?"
    siblings = [key for key in known if key.rpartition(".")[0] == section]
    return f"; known keys: {', '.join(siblings or known)}"


def short(value: object) -> str:
    """A foreign value as it can stand in a sentence: at most 80 characters, whatever its size."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of thousands of digits out, one inside a list neither
        return f"a {type(value).__name__} with a number that is far too long"
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."


def clipped(text: str) -> str:
    """Words about a foreign file on one line: at most 500 characters, whatever of the file they repeat."""
    line = " ".join(text[: 4 * MAX_SENTENCE_CHARACTERS].split())
    return line if len(line) <= MAX_SENTENCE_CHARACTERS else f"{line[: MAX_SENTENCE_CHARACTERS - 3]}..."


def names_of(name: str, field: FieldInfo) -> list[str]:
    """A field's name in files, then the peers' names that are accepted for it."""
    names = [field.alias or name]
    if isinstance(field.validation_alias, AliasChoices):
        names += [choice for choice in field.validation_alias.choices if isinstance(choice, str) and choice != name]
    return names


def _keys(model: type[BaseModel], place: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield from (place + known for known in names_of(name, field))
        for inner in _models_in(field.annotation):
            yield from _keys(inner, f"{place}{name}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field may hold, in lists or instead of nothing too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
