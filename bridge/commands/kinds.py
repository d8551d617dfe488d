"""Jobs written as commands: `cryobridge map fsc3d half1.mrc half2.mrc -o out/` is the same job as its YAML.

Arguments, options, defaults and help come from the models of `schemas.job`, which are imported only when one of
these commands is really asked for.
"""

from __future__ import annotations

import tempfile
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .foreground import run_in_foreground
from .jobs import hand_over

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from cryobridge.schemas.envelope import Job


_SECTIONS = ("Inputs", "Options", "Network and training", "Running", "This command")


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
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in _SECTIONS}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, KindArgument):
                record: tuple[str, str] | None = (parameter.make_metavar(ctx), parameter.words)
            else:
                record = parameter.get_help_record(ctx)
            if record is not None:
                sections[getattr(parameter, "section", _SECTIONS[-1])].append(record)
        for section, records in sections.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)


class KindOption(click.Option):
    """An option that belongs to a section of the help."""

    section = _SECTIONS[-1]


class KindArgument(click.Argument):
    """An argument with a description."""

    section = _SECTIONS[0]
    words = ""


def command_of(model: type[Job]) -> click.Command:
    """Make the command of a kind from its model."""
    inputs = _model(model, "inputs")
    options = _model(model, "options")
    run = _model(model, "run")
    parameters: list[click.Parameter] = []
    for name, field in inputs.model_fields.items():
        kind = click.Path(path_type=Path)
        if field.is_required():
            argument = KindArgument([f"inputs__{name}"], type=kind, metavar=name.upper())
            argument.words = field.description or ""
            parameters.append(argument)
        else:
            option = KindOption(_flags("inputs", name, field), type=kind, help=field.description)
            option.section = "Inputs"
            parameters.append(option)
    output = KindOption(
        ["-o", "--output", "--output-dir"],
        type=click.Path(path_type=Path),
        required=True,
        help="folder for the result; it is made",
    )
    output.section = "Inputs"
    parameters.append(output)
    network = _network_names(options)
    own = {name: field for name, field in options.model_fields.items() if name not in network}
    parameters += [_option("options", "Options", name, field, _default(field)) for name, field in own.items()]
    for name, words in network.items():
        parameters.append(_option("options", "Network and training", name, options.model_fields[name], words))
    parameters += [_option("run", "Running", name, field, _default(field)) for name, field in run.model_fields.items()]
    parameters += [
        click.Option(["--submit"], is_flag=True, help="hand it to the daemon and print its id"),
        click.Option(["--wait"], is_flag=True, help="with --submit: wait until it is finished"),
        click.Option(["--json", "as_json"], is_flag=True, help="with --submit: print JSON"),
    ]

    def callback(**values: Any) -> int:
        return _start(model, values)

    kind_name = str(model.model_fields["kind"].default)
    return KindCommand(
        kind_name.rpartition(".")[2],
        params=parameters,
        callback=callback,
        help=(model.__doc__ or "").strip(),
        context_settings={"token_normalize_func": with_dashes},
    )


def _start(model: type[Job], values: dict[str, Any]) -> int:
    from cryobridge.schemas.envelope import JOB_SCHEMA
    from cryobridge.schemas.job import check_paths, parse_job

    spec: dict[str, Any] = {
        "schema": JOB_SCHEMA,
        "kind": model.model_fields["kind"].default,
        "output": values["output"],
    }
    for key, value in values.items():
        section, _, name = key.partition("__")
        if name and value is not None:
            spec.setdefault(section, {})[name] = value
    job = parse_job(spec, "command line").resolved(Path.cwd())
    check_paths(job)
    if values["submit"]:
        return hand_over(job.as_spec(), wait_too=values["wait"], as_json=values["as_json"])
    if values["wait"] or values["as_json"]:
        raise click.UsageError("--wait and --json go with --submit")
    import json

    with tempfile.TemporaryDirectory(prefix="cryobridge-") as folder:
        job_file = Path(folder) / "job.json"
        job_file.write_text(json.dumps(job.as_spec()))
        return run_in_foreground(job_file)


def _model(model: type[Job], section: str) -> Any:
    return model.model_fields[section].annotation


def _flags(section: str, name: str, field: FieldInfo) -> list[str]:
    from cryobridge.schemas.validation import names_of

    spellings = dict.fromkeys(f"--{with_dashes(known)}" for known in names_of(name, field))
    return [f"{section}__{name}", *spellings]


def with_dashes(word: str) -> str:
    """An option as it is looked for, so that the peers' `--limit_res` is found too."""
    return word.replace("_", "-")


def _option(target: str, section: str, name: str, field: FieldInfo, default: str) -> click.Option:
    """One option of a kind. Values are checked by the model, so that every way in gives the same message."""
    flags = _flags(target, name, field)
    # Not given stays None, so that the model's own default counts; here it is only shown.
    words = f"{field.description or ''}{f'  [default: {default}]' if default else ''}"
    members = _members(field.annotation)
    choices = [value for member in members for value in typing.get_args(member) if isinstance(value, str)]
    if bool in members:
        # What is on by default needs a way to be switched off.
        flags[1:] = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags[1:]] if field.default else flags[1:]
        option = KindOption(flags, is_flag=True, default=None, help=words)
    elif choices:
        option = KindOption(flags, type=click.Choice(choices), default=None, help=words)
    else:
        number = float if float in members else int if int in members else str
        option = KindOption(flags, type=number, default=None, help=words)
    option.section = section
    return option


def _members(annotation: Any) -> tuple[Any, ...]:
    """What a field may be: the members of a union, or the one type."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)


def _default(field: FieldInfo) -> str:
    return "" if field.is_required() or field.default in (None, False) else str(field.default)


def _network_names(options: Any) -> dict[str, str]:
    """The options of a network's training, if the kind trains one, with their defaults on each kind of device."""
    from cryobridge.schemas.correction import CorrectionOptions
    from cryobridge.schemas.kinds.map.correct import CorrectOptions

    if not issubclass(options, CorrectOptions):
        return {}
    on_cpu, on_gpu = (CorrectOptions().network_options(device) for device in ("cpu", "cuda"))
    words = {}
    for name in CorrectionOptions.model_fields:
        cpu, gpu = (str(getattr(on, name)) for on in (on_cpu, on_gpu))
        words[name] = cpu if cpu == gpu else f"{cpu} on a CPU, {gpu} on a GPU"
        if words[name] in ("None", "False"):
            words[name] = ""
    return words
