"""Jobs written as commands: `cryobridge map fsc3d half1.mrc half2.mrc -o out/` is the same job as its YAML.

Arguments, options, defaults and help come from the descriptions of `schemas.describe`, which are imported only when
one of these commands is really asked for.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryobridge.schemas import kinds

from ..foreground import run_in_foreground
from .jobs import hand_over

if TYPE_CHECKING:
    from cryobridge.schemas.describe import FieldDescription, KindDescription
    from cryobridge.schemas.envelope import Job


_INPUTS, _OPTIONS, _RUNNING, _COMMAND = "Inputs", "Options", "Running", "This command"


def families() -> Iterator[click.Group]:
    """A group of commands for each family of kinds that has commands, e.g. `map`; none of its kinds is imported yet."""
    for module in pkgutil.iter_modules(kinds.__path__):
        if module.ispkg:
            package = importlib.import_module(f"{kinds.__name__}.{module.name}")
            words = getattr(package, "COMMANDS", None)
            if words is not None:
                yield KindGroup(module.name, help=words)


class KindGroup(click.Group):
    """The commands of all kinds that begin with the group's name and a dot."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every kind of the group, by its last word."""
        from cryobridge.schemas.job import user_kinds

        return [kind.partition(".")[2] for kind in user_kinds() if kind.startswith(f"{self.name}.")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one kind."""
        from cryobridge.schemas.job import JOB_MODELS

        name = cmd_name.replace("-", "_")
        return command_of(JOB_MODELS[f"{self.name}.{name}"]) if name in self.list_commands(ctx) else None


class KindCommand(click.Command):
    """A command whose help has its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group of options, in the order in which they were declared."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, KindArgument):
                record: tuple[str, str] | None = (parameter.make_metavar(ctx), parameter.words)
            else:
                record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", _COMMAND), []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


class KindOption(click.Option):
    """An option that belongs to a section of the help."""

    section = _COMMAND


class KindArgument(click.Argument):
    """An argument with a description."""

    section = _INPUTS
    words = ""


@dataclass(frozen=True)
class _Place:
    """Where a value of the command line goes: a section of the job, and a key of it."""

    section: str
    key: str

    @property
    def parameter(self) -> str:
        """The name that click knows it by."""
        return f"{self.section}__{self.key.replace('.', '__').lower()}"


def command_of(model: type[Job]) -> click.Command:
    """Make the command of a kind from its description."""
    from cryobridge.schemas.describe import describe_kind

    kind = describe_kind(model)
    places: dict[str, _Place] = {}
    parameters: list[click.Parameter] = [*_input_parameters(kind, places), _output_option()]
    # The kind's own options first, then the groups in the order in which the model names them.
    groups = sorted(dict.fromkeys(field.group for field in kind.options), key=bool)
    for group in groups:
        fields = [field for field in kind.options if field.group == group]
        parameters += [_option(_noted(places, "options", field), group or _OPTIONS, field) for field in fields]
    parameters += [_option(_noted(places, "run", field), _RUNNING, field) for field in kind.run]
    parameters += [
        click.Option(["--submit"], is_flag=True, help="hand it to the daemon and print its id"),
        click.Option(["--wait"], is_flag=True, help="with --submit: wait until it is finished"),
        click.Option(["--json", "as_json"], is_flag=True, help="with --submit: print JSON"),
    ]

    def callback(**values: Any) -> int:
        return _start(kind.kind, places, values)

    return KindCommand(
        kind.kind.rpartition(".")[2],
        params=parameters,
        callback=callback,
        help=kind.help,
        context_settings={"token_normalize_func": with_dashes},
    )


def with_dashes(word: str) -> str:
    """An option as it is looked for, so that the peers' `--limit_res` is found too."""
    return word.replace("_", "-")


def _start(kind: str, places: Mapping[str, _Place], values: dict[str, Any]) -> int:
    from cryobridge.schemas.describe import nested
    from cryobridge.schemas.envelope import JOB_SCHEMA
    from cryobridge.schemas.job import check_paths, parse_job

    given = {places[name]: value for name, value in values.items() if name in places and value not in (None, ())}
    spec: dict[str, Any] = {"schema": JOB_SCHEMA, "kind": kind, "output": values["output"]}
    for section in ("inputs", "options", "run"):
        spec[section] = nested({place.key: value for place, value in given.items() if place.section == section})
    job = parse_job(spec, "command line").resolved(Path.cwd())
    check_paths(job)
    if values["submit"]:
        return hand_over(job.as_spec(), wait_too=values["wait"], as_json=values["as_json"])
    if values["wait"] or values["as_json"]:
        raise click.UsageError("--wait and --json go with --submit")
    with tempfile.TemporaryDirectory(prefix="cryobridge-") as folder:
        job_file = Path(folder) / "job.json"
        job_file.write_text(json.dumps(job.as_spec()))
        return run_in_foreground(job_file)


def _noted(places: dict[str, _Place], section: str, field: FieldDescription) -> str:
    """Take down where a field's value goes; return the name of its parameter."""
    place = _Place(section, field.key)
    places[place.parameter] = place
    return place.parameter


def _input_parameters(kind: KindDescription, places: dict[str, _Place]) -> Iterator[click.Parameter]:
    """Inputs that are needed as arguments, the others as options."""
    needed = [field for field in kind.inputs if field.required]
    for field in kind.inputs:
        name = _noted(places, "inputs", field)
        many = field.type == "files"
        # Only at the end is it clear where a list ends; any other is an option that is repeated.
        if field in needed and (not many or field is needed[-1]):
            metavar = field.key.replace(".", "_").upper()
            argument = KindArgument(
                [name], type=_click_type(field), metavar=f"{metavar}..." if many else metavar, nargs=-1 if many else 1
            )
            argument.required = True
            argument.words = field.help
            yield argument
        else:
            yield _option(name, _INPUTS, field)


def _output_option() -> click.Option:
    option = KindOption(
        ["-o", "--output", "--output-dir"],
        type=click.Path(path_type=Path),
        required=True,
        help="folder for the result; it is made",
    )
    option.section = _INPUTS
    return option


def _option(name: str, section: str, field: FieldDescription) -> click.Option:
    """One option of a kind. Values are checked by the model, so that every way in gives the same message."""
    spellings = (field.key, *field.aliases)
    flags = list(dict.fromkeys(f"--{with_dashes(known.replace('.', '-'))}" for known in spellings))
    # Not given stays None, so that the model's own default counts; here it is only shown.
    default = _default(field)
    note = "  [required]" if field.required and not field.is_path else f"  [default: {default}]" if default else ""
    words = f"{field.help}{note}"
    if field.is_flag:
        # What is on by default needs a way to be switched off.
        if field.default_on_cpu or field.default_on_gpu:
            flags = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags]
        option = KindOption([name, *flags], is_flag=True, default=None, help=words)
    else:
        many = field.type == "files"
        needed = field.required and field.is_path
        option = KindOption(
            [name, *flags], type=_click_type(field), default=None, help=words, multiple=many, required=needed
        )
    option.section = section
    return option


def _click_type(field: FieldDescription) -> Any:
    if field.is_path:
        return click.Path(path_type=Path)
    if field.type == "choice":
        return click.Choice(field.choices)
    return {"integer": int, "number": float}.get(field.type, str)


def _default(field: FieldDescription) -> str:
    cpu, gpu = field.default_on_cpu, field.default_on_gpu
    if field.depends_on_device:
        return f"{cpu} on a CPU, {gpu} on a GPU"
    return "" if cpu in (None, False) else str(cpu)
