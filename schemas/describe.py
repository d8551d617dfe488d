"""What the fields of a model are, said once for everybody who shows or asks for them.

The command line, the documents and other programs' forms are made from these descriptions; nothing but `schemas` looks
into pydantic's fields. What pydantic cannot say (which group a field belongs to, defaults that depend on the device) a
model says itself, see `StrictModel`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .envelope import JOB_SCHEMA, Job
from .outputs import Output
from .paths import Holds, Must, held_by, must_be
from .validation import StrictModel, names_of

FieldType = Literal[
    "file", "files", "folder", "run_folder", "path", "flag", "choice", "integer", "number", "text", "list", "table"
]
"""file, files, folder, run_folder: inputs of `schemas.paths`. path: any other. flag: yes or no. table: by key."""

UNITS = {
    "_A": "Å",
    "_A2": "Å²",
    "_deg": "°",
    "_s": "s",
    "_GB": "GB",
    "_bytes": "bytes",
    "_eV": "eV",
    "_kV": "kV",
}
"""Units by the ending of a field's name."""
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


@dataclass(frozen=True)
class FieldDescription:
    """One field of a model.

    Attributes
    ----------
    key
        Its name; with dots where it lies in a model inside.
    aliases
        Other names that are accepted, those of the peers.
    type, choices
        What it holds, and out of what, for a choice.
    unit
        By its name; empty if it has none.
    required
        Whether it must be given.
    default_on_cpu, default_on_gpu
        What it is where it is not given, on each kind of device; None also where it must be given.
    bounds
        Sign and limit, e.g. (">", 0.0).
    help
        One line; empty if nobody wrote one.
    group
        Heading that it is shown under; empty for the model's own fields.
    example
        A value that may be given.
    holds
        What a path leads to, where the model says so.
    """

    key: str
    aliases: tuple[str, ...]
    type: FieldType
    choices: tuple[str, ...]
    unit: str
    required: bool
    default_on_cpu: Any
    default_on_gpu: Any
    bounds: tuple[tuple[str, float], ...]
    help: str
    group: str
    example: Any
    holds: Holds | None = None

    @property
    def is_flag(self) -> bool:
        """Whether it is said by being there, as a switch of a command line."""
        return self.type == "flag"

    @property
    def is_path(self) -> bool:
        """Whether it names what is read."""
        return self.type in ("file", "files", "folder", "run_folder")

    @property
    def depends_on_device(self) -> bool:
        """Whether its default on a GPU is another than on a CPU."""
        return bool(self.default_on_cpu != self.default_on_gpu)


@dataclass(frozen=True)
class KindDescription:
    """One kind of job: its name, what it does (the class's docstring), its fields by section, and what it leaves.

    Attributes
    ----------
    output_names
        Other names that are accepted for the output folder.
    output_default
        The folder where none is given; None if one must be.
    """

    kind: str
    help: str
    inputs: tuple[FieldDescription, ...]
    options: tuple[FieldDescription, ...]
    run: tuple[FieldDescription, ...]
    outputs: tuple[Output, ...]
    output_names: tuple[str, ...] = ()
    output_default: str | None = None

    @property
    def summary(self) -> str:
        """The first sentence of the help, without its full stop."""
        return " ".join(self.help.split("\n\n")[0].split()).removesuffix(".")

    def example(self) -> dict[str, Any]:
        """A valid job with only what must be given."""
        sections = {"inputs": self.inputs, "options": self.options}
        spec: dict[str, Any] = {"schema": JOB_SCHEMA, "kind": self.kind, "output": self.kind.rpartition(".")[2]}
        for section, fields in sections.items():
            spec[section] = nested({field.key: field.example for field in fields if field.required})
        return spec


@cache
def describe_kind(model: type[Job]) -> KindDescription:
    """Describe a kind of job."""
    sections = {name: model.model_fields[name].annotation for name in ("inputs", "options", "run")}
    fields = {name: fields_of(section) for name, section in sections.items() if _is_model(section)}
    return KindDescription(
        kind=str(model.model_fields["kind"].default),
        help=(model.__doc__ or "").strip(),
        inputs=fields["inputs"],
        options=fields["options"],
        run=fields["run"],
        outputs=model.outputs,
        output_names=tuple(names_of("output", model.model_fields["output"])[1:]),
        output_default=_default_folder(model.model_fields["output"]),
    )


def _default_folder(field: FieldInfo) -> str | None:
    return None if field.is_required() else str(field.default)


@cache
def fields_of(model: type[BaseModel]) -> tuple[FieldDescription, ...]:
    """Describe every field of a model, those of models inside under dotted keys, in their order."""
    return tuple(_fields(model))


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Values under dotted keys as values inside values: `{"a.b": 1}` is `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *places, name = key.split(".")
        inner = result
        for place in places:
            inner = inner.setdefault(place, {})
        inner[name] = value
    return result


def _fields(model: type[BaseModel], place: str = "", *, optional: bool = False) -> Iterator[FieldDescription]:
    on_device = {device: _defaults_on(model, device) for device in ("cpu", "cuda")}
    for name, field in model.model_fields.items():
        inside = next((member for member in _members(field.annotation) if _is_model(member)), None)
        if inside is not None:
            needed = field.is_required() and not optional
            yield from _fields(inside, f"{place}{name}.", optional=not needed and type(None) in _union(field))
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        found, choices = _type_of(field)
        yield FieldDescription(
            key=f"{place}{name}",
            aliases=tuple(names_of(name, field)[1:]),
            type=found,
            choices=choices,
            unit=UNITS.get(f"_{name.rpartition('_')[2]}", "") if "_" in name else "",
            required=field.is_required() and not optional,
            default_on_cpu=on_device["cpu"].get(name, default),
            default_on_gpu=on_device["cuda"].get(name, default),
            bounds=tuple(_bounds(field)),
            help=field.description or "",
            group=model.group_of(name) if issubclass(model, StrictModel) else "",
            example=field.examples[0] if field.examples else _example(name, found, choices),
            holds=held_by(field.annotation, field.metadata),
        )


def _defaults_on(model: type[BaseModel], device: str) -> dict[str, Any]:
    return model.defaults_on(device) if issubclass(model, StrictModel) else {}


def _is_model(annotation: Any) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _union(field: FieldInfo) -> tuple[Any, ...]:
    annotation = field.annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)


def _members(annotation: Any) -> tuple[Any, ...]:
    """What a field may be besides nothing: the members of a union, or the one type."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        each = (_members(member) for member in typing.get_args(annotation) if member is not type(None))
        return tuple(member for members in each for member in members)
    if typing.get_origin(annotation) is Annotated:
        return _members(typing.get_args(annotation)[0])
    return (annotation,)


def _type_of(field: FieldInfo) -> tuple[FieldType, tuple[str, ...]]:
    members = _members(field.annotation)
    literals = [member for member in members if typing.get_origin(member) is Literal]
    choices = tuple(str(value) for member in literals for value in typing.get_args(member))
    must = must_be(field.annotation, field.metadata)
    if must is not None:
        return _path_type(must, members), choices
    by_type: tuple[tuple[type, FieldType], ...] = (
        (bool, "flag"),
        (list, "list"),
        (tuple, "list"),
        (dict, "table"),
        (float, "number"),
        (int, "integer"),
        (Path, "path"),
    )
    kinds = {typing.get_origin(member) or member for member in members}
    if choices and len(literals) == len(members):
        return "choice", choices
    if choices and kinds & {float, int}:
        # A number or a word: a command line takes it as it is written, and the model tells which it is.
        return "text", choices
    return next((name for kind, name in by_type if kind in kinds), "text"), choices


def _path_type(must: Must, members: tuple[Any, ...]) -> FieldType:
    if any(typing.get_origin(member) in (tuple, list) for member in members):
        return "files"
    single: dict[Must, FieldType] = {
        Must.BE_FILE: "file",
        Must.BE_FOLDER: "folder",
        Must.BE_RUN: "run_folder",
        Must.BE_ROOT: "folder",
    }
    return single[must]


def _bounds(field: FieldInfo) -> Iterator[tuple[str, float]]:
    """Of the field, or of the members of its union that have bounds of their own, as a number beside words has."""
    own = [one for member in _union(field) if typing.get_origin(member) is Annotated for one in member.__metadata__]
    for limit in (*field.metadata, *(limit for one in own if isinstance(one, FieldInfo) for limit in one.metadata)):
        for name, sign in _SIGNS.items():
            value = getattr(limit, name, None)
            if isinstance(value, int | float):
                yield sign, value


def _example(name: str, found: FieldType, choices: tuple[str, ...]) -> Any:
    """A value that reads well where the model gives none; None for what no value can be made up for."""
    examples: dict[str, Any] = {
        "file": f"{name}.mrc",
        "files": [f"{name}_1.mrc", f"{name}_2.mrc"],
        "folder": name,
        "run_folder": name,
        "choice": choices[0] if choices else None,
        "flag": True,
        "text": name,
    }
    return examples.get(found)
