"""Every setting there is, as Markdown tables made from the models that check them.

`cryobridge config reference` prints them, and with `--write` puts them into `docs/configuration.md`, whose text
around them is written by hand.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cryobridge.schemas.config import PREFIX, DaemonConfig
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.envelope import RunOptions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import JOB_MODELS, user_kinds
from cryobridge.schemas.kinds.map.correct import CorrectOptions
from cryobridge.schemas.relion import ENVIRONMENT, RelionOptions
from cryobridge.schemas.validation import names_of

BEGIN = "<!-- reference: made by `cryobridge config reference --write`; do not edit below -->"
PROGRAM_VARIABLES = {
    "CRYOBRIDGE_SOCKET": "the daemon's socket, for hook, commands and the daemon itself; no other is tried",
    "CRYOBRIDGE_CONFIG": "the daemon's configuration file, where `--config` is not given",
    "CRYOBRIDGE_SPAWN": "`0`: the hook starts no daemon where none runs, and takes the standard map",
    "CRYOBRIDGE_SILENCE_S": "seconds after which the hook takes a silent daemon for dead (15)",
}
"""Variables that are no key of any model."""


def known_variables() -> set[str]:
    """Every environment variable that means something to us."""
    daemon = {variable(key) for key, _ in _fields(DaemonConfig)}
    return {*PROGRAM_VARIABLES, *ENVIRONMENT, *daemon}


def variable(key: str) -> str:
    """The environment variable of a daemon's setting."""
    return PREFIX + key.upper().replace(".", "__")


def tables() -> str:
    """All tables, with their headings."""
    parts = [
        _section("Variables of the programs", ("variable", "meaning"), _program_rows()),
        _section("The daemon", ("key", "variable", "default", "meaning"), _daemon_rows()),
        _section("RELION calls", ("key", "variable", "default", "meaning"), _relion_rows()),
        _section(
            "The network: keys under `network:` in RELION's calls, options of `map.correct`",
            ("key", "also called", "variable", "default", "meaning"),
            _network_rows(),
        ),
    ]
    for kind in user_kinds():
        for section in ("inputs", "options"):
            model = JOB_MODELS[kind].model_fields[section].annotation
            if isinstance(model, type) and issubclass(model, BaseModel):
                trained = issubclass(model, CorrectionOptions)
                rows = _job_rows(model, besides=set(CorrectionOptions.model_fields) if trained else set())
                title = f"`{kind}`: {section}{', besides those of the network' if trained else ''}"
                parts.append(_section(title, ("key", "also called", "default", "meaning"), rows))
    parts.append(_section("All kinds: run", ("key", "also called", "default", "meaning"), _job_rows(RunOptions)))
    return "\n".join(parts)


def write_into(path: Path) -> None:
    """Replace what follows the marker in a document.

    Raises
    ------
    InputInvalid
        If the document has no marker.
    """
    text = path.read_text()
    head, marker, _ = text.partition(BEGIN)
    if not marker:
        raise InputInvalid(f"{path}: has no line '{BEGIN}'; nothing was written")
    path.write_text(f"{head}{BEGIN}\n\n{tables()}")


def _program_rows() -> Iterator[tuple[str, ...]]:
    for name, meaning in PROGRAM_VARIABLES.items():
        yield f"`{name}`", meaning


def _daemon_rows() -> Iterator[tuple[str, ...]]:
    for key, field in _fields(DaemonConfig):
        yield f"`{key}`", f"`{variable(key)}`", _default(field), _meaning(field)


def _relion_rows() -> Iterator[tuple[str, ...]]:
    for key, field in _fields(RelionOptions):
        if key != "network":
            yield f"`{key}`", _variables(key), _default(field), _meaning(field)


def _network_rows() -> Iterator[tuple[str, ...]]:
    devices = ("cpu", "cuda")
    in_relion = [CorrectionOptions.for_device(device) for device in devices]
    alone = [CorrectOptions().network_options(device) for device in devices]
    for key, field in _fields(CorrectionOptions):
        default, other = _by_device(key, in_relion), _by_device(key, alone)
        if other != default:
            default = f"{f'{default}; ' if default else ''}`map.correct`: {other}"
        yield f"`{key}`", _others(key, field), _variables(f"network.{key}"), default, _meaning(field)


def _by_device(key: str, options: list[CorrectionOptions]) -> str:
    cpu, gpu = (_shown(getattr(one, key)) for one in options)
    return cpu if cpu == gpu else f"{cpu or 'none'} (CPU), {gpu or 'none'} (GPU)"


def _job_rows(model: type[BaseModel], besides: Collection[str] = ()) -> Iterator[tuple[str, ...]]:
    for key, field in model.model_fields.items():
        if key not in besides:
            default = "needed" if field.is_required() else _default(field)
            yield f"`{key}`", _others(key, field), default, _meaning(field)


def _others(key: str, field: FieldInfo) -> str:
    return ", ".join(f"`{name}`" for name in names_of(key, field)[1:])


def _fields(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{place}{key}.")
        else:
            yield f"{place}{key}", field


def _variables(key: str) -> str:
    return ", ".join(f"`{name}`" for name, (target, _) in ENVIRONMENT.items() if target == key)


def _default(field: FieldInfo) -> str:
    return _shown(field.get_default(call_default_factory=True))


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | dict) and not value:
        return "none"
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _meaning(field: FieldInfo) -> str:
    words = [field.description] if field.description else []
    choices = list(_choices(field.annotation))
    if choices and not all(choice in (field.description or "") for choice in choices):
        words.append(f"one of {', '.join(f'`{choice}`' for choice in choices)}")
    bounds = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if isinstance(getattr(limit, name, None), int | float)
    ]
    if bounds:
        words.append(", ".join(bounds))
    return "; ".join(words).replace("|", "\\|")


def _choices(annotation: Any) -> Iterator[str]:
    if typing.get_origin(annotation) is Literal:
        yield from (str(value) for value in typing.get_args(annotation))
    elif isinstance(annotation, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _choices(member)


def _section(title: str, columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
