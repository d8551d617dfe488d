"""Paths in jobs: what each of them must be, and every one of a model found, however deep it lies.

An input is a file, a folder, a list of files, a run folder or a root, by the type of its field. Models inside models
and lists of models are walked like the rest, so no check of inputs (absolute, readable, allowed, known by its hash)
misses one.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, Field

from .outputs import OutputType

MAX_PATH_CHARACTERS = 4096
MAX_LISTED_FILES = 4096
"""Members of one list."""
MAX_INPUT_PATHS = 16_384
"""Paths of one job, all lists together."""

Model = TypeVar("Model", bound=BaseModel)


class Must(Enum):
    """What has to lie where a path leads."""

    BE_FILE = "a file"
    BE_THERE = "a file or a folder"
    BE_FOLDER = "a folder"
    BE_RUN = "the folder of a finished run"
    BE_ROOT = "the folder that names of files start at"


HeldType = OutputType | Literal["project"]
"""project: the folder of a foreign program's project, which paths in its tables start at."""


@dataclass(frozen=True)
class Holds:
    """What an input is, besides a path: for whoever finds the inputs of a job in a foreign program's results.

    Put beside the path's type, e.g. `Annotated[InputFile, Holds("mask")]`.

    Attributes
    ----------
    type
        As of an output, or project.
    role
        Which of several of this type: half1 and half2 are a pair, as corrected1 and corrected2 are; passthrough is what
        completes a table whose slots are in several files.
    parts
        Of particles: what of them is read, out of "images", "ctf", "views" and "location"; with a "?" where a job can
        do without.
    """

    type: HeldType
    role: str = ""
    parts: tuple[str, ...] = ()


class InputPath(NamedTuple):
    """One path of a job: its key (`mask`, `tilt_series.3`, counted from 0), itself, and what it must be."""

    key: str
    path: Path
    must: Must


def _plain_path(path: Path) -> Path:
    text = str(path)
    if not text.strip() or text == ".":
        raise ValueError("a path is needed")
    if len(text) > MAX_PATH_CHARACTERS:
        raise ValueError(f"a path of more than {MAX_PATH_CHARACTERS} characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("a path must not hold line breaks or other control characters")
    return path


InputFile = Annotated[Path, AfterValidator(_plain_path), Must.BE_FILE]
"""A file that is read. Relative paths start at the folder of the job file."""
InputFolder = Annotated[Path, AfterValidator(_plain_path), Must.BE_FOLDER]
"""A folder whose files are read, e.g. one of movies."""
InputFileOrFolder = Annotated[Path, AfterValidator(_plain_path), Must.BE_THERE]
"""A table of files, or a folder of them."""
RunFolder = Annotated[Path, AfterValidator(_plain_path), Must.BE_RUN]
"""The output folder of a finished job of ours, or the folder of a foreign program's run."""
InputFiles = Annotated[tuple[InputFile, ...], Field(min_length=1, max_length=MAX_LISTED_FILES)]
"""One file or more, in an order that counts."""
RootFolder = Annotated[Path, AfterValidator(_plain_path), Must.BE_ROOT]
"""A folder that names in other inputs start at, e.g. a project. It is never listed, so it may be as large as a disk,
and a result may lie in it."""
OutputFolder = Annotated[Path, AfterValidator(_plain_path)]
"""A folder that is made, with the result in it."""


def paths_of(model: BaseModel, place: str = "") -> Iterator[InputPath]:
    """Every path of a model, of the models in it, and of its lists, in the order of the fields.

    Parameters
    ----------
    model
        Its fields of paths have one of the types above.
    place
        Put before each key.
    """
    kinds = _path_fields(type(model))
    for name in type(model).model_fields:
        yield from _walked(getattr(model, name), f"{place}{name}", kinds.get(name, Must.BE_FILE))


def with_paths(model: Model, change: Callable[[Path], Path]) -> Model:
    """The same model with every path replaced by what `change` makes of it."""
    update = {name: _changed(getattr(model, name), change) for name in type(model).model_fields}
    return model.model_copy(update=update)


def must_be(annotation: Any, metadata: typing.Iterable[Any] = ()) -> Must | None:
    """What a field's type says of its paths; None for a field that holds none."""
    for note in metadata:
        if isinstance(note, Must):
            return note
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return must_be(arguments[0], arguments[1:])
    found = (must_be(argument) for argument in arguments)
    return next((must for must in found if must is not None), None)


def held_by(annotation: Any, metadata: typing.Iterable[Any] = ()) -> Holds | None:
    """What a field's type says of what its path leads to; None for a field that says nothing."""
    for note in metadata:
        if isinstance(note, Holds):
            return note
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return held_by(arguments[0], arguments[1:])
    return next((holds for argument in arguments if (holds := held_by(argument)) is not None), None)


@cache
def _path_fields(model: type[BaseModel]) -> dict[str, Must]:
    kinds = {name: must_be(field.annotation, field.metadata) for name, field in model.model_fields.items()}
    return {name: must for name, must in kinds.items() if must is not None}


def _walked(value: object, key: str, must: Must) -> Iterator[InputPath]:
    if isinstance(value, Path):
        yield InputPath(key, value, must)
    elif isinstance(value, BaseModel):
        yield from paths_of(value, f"{key}.")
    elif isinstance(value, tuple | list):
        for number, member in enumerate(value):
            yield from _walked(member, f"{key}.{number}", must)


def _changed(value: Any, change: Callable[[Path], Path]) -> Any:
    if isinstance(value, Path):
        return change(value)
    if isinstance(value, BaseModel):
        return with_paths(value, change)
    if isinstance(value, tuple | list):
        return type(value)(_changed(member, change) for member in value)
    return value
