"""Every setting and every kind there is, as Markdown tables made from the models that check them.

`cryobridge config reference` prints them, and with `--write` puts them into a document between its markers; the text
around them is written by hand. `docs/configuration.md` holds the settings, `docs/jobs.md` the kinds.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from pathlib import Path

from cryobridge.schemas.config import DaemonConfig
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.describe import FieldDescription, KindDescription, describe_kind, fields_of
from cryobridge.schemas.envelope import RunOptions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import JOB_MODELS, user_kinds
from cryobridge.schemas.relion import ENVIRONMENT, RelionOptions
from cryobridge.schemas.variables import PROGRAM_VARIABLES, variable

BEGIN = "<!-- reference: made by `cryobridge config reference --write`; do not edit below -->"
KINDS_BEGIN = "<!-- kinds: made by `cryobridge config reference --write`; do not edit up to the next marker -->"
KINDS_END = "<!-- end of kinds -->"


def tables() -> str:
    """All tables of settings, with their headings."""
    kinds = [describe_kind(JOB_MODELS[kind]) for kind in user_kinds()]
    trained = [kind for kind in kinds if _network_keys(kind)]
    parts = [
        _section("Variables of the programs", ("variable", "meaning"), _program_rows()),
        _section("The daemon", ("key", "variable", "default", "meaning"), _daemon_rows()),
        _section("RELION calls", ("key", "variable", "default", "meaning"), _relion_rows()),
        _section(
            "The network: keys under `network:` in RELION's calls, options of "
            f"{', '.join(f'`{kind.kind}`' for kind in trained)}",
            ("key", "also called", "variable", "default", "meaning"),
            _network_rows(trained),
        ),
    ]
    columns = ("key", "also called", "default", "meaning")
    for kind in kinds:
        network = _network_keys(kind)
        others = f"`{kind.kind}`: options{', besides those of the network' if network else ''}"
        parts.append(_section(f"`{kind.kind}`: inputs", columns, _job_rows(kind.inputs)))
        parts.append(_section(others, columns, _job_rows(kind.options, besides=network)))
    parts.append(_section("All kinds: run", columns, _job_rows(fields_of(RunOptions))))
    return "\n".join(part for part in parts if part)


def kinds_table() -> str:
    """One line for each kind: its name, and what its class says that it does."""
    kinds = [describe_kind(JOB_MODELS[kind]) for kind in user_kinds()]
    lines = ["| kind | what it does |", "| --- | --- |"]
    lines += [f"| `{kind.kind}` | {_in_a_row(kind.summary)} |" for kind in kinds]
    return "\n".join(lines) + "\n"


def write_into(path: Path) -> None:
    """Replace what follows a marker in a document: the settings to its end, or the kinds up to their end marker.

    Raises
    ------
    InputInvalid
        If the document has no marker.
    """
    text = path.read_text()
    head, kinds_marker, rest = text.partition(KINDS_BEGIN)
    _, kinds_end, tail = rest.partition(KINDS_END)
    if kinds_marker and kinds_end:
        text = f"{head}{KINDS_BEGIN}\n\n{kinds_table()}\n{KINDS_END}{tail}"
    head, marker, _ = text.partition(BEGIN)
    if marker:
        text = f"{head}{BEGIN}\n\n{tables()}"
    elif not (kinds_marker and kinds_end):
        raise InputInvalid(f"{path}: has no line '{BEGIN}', nor '{KINDS_BEGIN}' with its end; nothing was written")
    path.write_text(text)


def _program_rows() -> Iterator[tuple[str, ...]]:
    for name, meaning in PROGRAM_VARIABLES.items():
        yield f"`{name}`", meaning


def _daemon_rows() -> Iterator[tuple[str, ...]]:
    for field in fields_of(DaemonConfig):
        yield f"`{field.key}`", f"`{variable(field.key)}`", _by_device(field), _meaning(field)


def _relion_rows() -> Iterator[tuple[str, ...]]:
    for field in fields_of(RelionOptions):
        if field.key != "network":
            yield f"`{field.key}`", _variables(field.key), _by_device(field), _meaning(field)


def _network_rows(trained: list[KindDescription]) -> Iterator[tuple[str, ...]]:
    for field in fields_of(CorrectionOptions):
        default = _by_device(field)
        for kind in trained:
            other = next((_by_device(own) for own in kind.options if own.key == field.key), default)
            if other != default:
                default = f"{f'{default}; ' if default else ''}`{kind.kind}`: {other}"
        yield f"`{field.key}`", _others(field), _variables(f"network.{field.key}"), default, _meaning(field)


def _network_keys(kind: KindDescription) -> set[str]:
    """The options of a kind that are those of a network's training."""
    network = {field.key for field in fields_of(CorrectionOptions)}
    return network if network <= {field.key for field in kind.options} else set()


def _job_rows(fields: tuple[FieldDescription, ...], besides: Collection[str] = ()) -> Iterator[tuple[str, ...]]:
    for field in fields:
        if field.key not in besides:
            yield f"`{field.key}`", _others(field), "needed" if field.required else _by_device(field), _meaning(field)


def _others(field: FieldDescription) -> str:
    return ", ".join(f"`{name}`" for name in field.aliases)


def _variables(key: str) -> str:
    return ", ".join(f"`{name}`" for name, (target, _) in ENVIRONMENT.items() if target == key)


def _by_device(field: FieldDescription) -> str:
    cpu, gpu = _shown(field.default_on_cpu), _shown(field.default_on_gpu)
    return cpu if cpu == gpu else f"{cpu or 'none'} (CPU), {gpu or 'none'} (GPU)"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple | dict) and not value:
        return "none"
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _meaning(field: FieldDescription) -> str:
    words = [field.help] if field.help else []
    if field.choices and not all(choice in field.help for choice in field.choices):
        words.append(f"one of {', '.join(f'`{choice}`' for choice in field.choices)}")
    if field.bounds:
        words.append(", ".join(f"{sign} {limit:g}" for sign, limit in field.bounds))
    return _in_a_row("; ".join(words))


def _in_a_row(text: str) -> str:
    return text.replace("|", "\\|")


def _section(title: str, columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A table under its heading; nothing where there are no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    head = [f"### {title}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join([*head, *lines]) + "\n"
