"""One sentence out of a failed validation: which key of which file, what is wrong, and the nearest key there is."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from .errors import InputInvalid

_MOST_CHARACTERS = 80
_MOST_BITS = 256
_LONGEST_KEY = 120


class StrictModel(BaseModel):
    """A model whose unknown keys are errors and whose fields cannot be changed after checking."""

    # Built at first use: a command loads the models of all kinds, and checks one.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, defer_build=True
    )

    @classmethod
    def group_of(cls, field: str) -> str:
        """The heading that a field is shown under; empty for those that need none."""
        return ""

    @classmethod
    def defaults_on(cls, device: str) -> dict[str, Any]:
        """Defaults that depend on the device ("cpu" or "cuda"), by field; the others are the fields' own."""
        return {}


def input_invalid(error: ValidationError, model: type[BaseModel], source: str) -> InputInvalid:
    """Turn pydantic's report into the one sentence a user needs.

    Parameters
    ----------
    error
        What pydantic raised.
    model
        The model that was validated, for its field names.
    source
        Where the values came from, e.g. a file name.
    """
    # A misspelt key also leaves its right name missing; the misspelling is what to tell.
    first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    where = where if len(where) <= _LONGEST_KEY else f"{where[:_LONGEST_KEY]}..."
    if first["type"] == "extra_forbidden":
        return InputInvalid(f"{source}: unknown key '{where}'{nearest_key(where, model)}{more}")
    value = first.get("input")
    shown = "" if first["type"] == "missing" or isinstance(value, dict | list) else f" (it is {short(value)})"
    what = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    return InputInvalid(f"{source}: '{where}': {what}{shown}{more}" if where else f"{source}: {what}{more}")


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
