"""One sentence out of a failed validation: which key of which file, what is wrong, and the nearest key there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import InputInvalid


class StrictModel(BaseModel):
    """A model whose unknown keys are errors and whose fields cannot be changed after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


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
    first = error.errors(include_url=False, include_input=True)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return InputInvalid(f"{source}: unknown key '{where}'{nearest_key(where, model)}{more}")
    value = first.get("input")
    shown = "" if isinstance(value, dict | list) else f" (it is {value!r})"
    return InputInvalid(f"{source}: '{where}': {first['msg']}{shown}{more}")


def nearest_key(unknown: str, model: type[BaseModel]) -> str:
    """Say "; did you mean 'x'?" where a key of `model` is near enough to `unknown`, else list what there is."""
    known = sorted(set(_keys(model)))
    near = difflib.get_close_matches(unknown.rsplit(".", 1)[-1], known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known keys: {', '.join(known)}"


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.alias, str):
            yield field.alias
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _keys(annotation)
