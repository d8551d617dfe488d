"""Jobs written as commands: `cryobridge map fsc3d half1.mrc half2.mrc -o out/` is the same job as its YAML.

Arguments, options, defaults and help come from the models of `schemas.job`, which are imported only when one of
these commands is really asked for.
"""

from __future__ import annotations

import tempfile
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from .foreground import run_in_foreground
from .jobs import hand_over

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from cryobridge.schemas.envelope import Job


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


def command_of(model: type[Job]) -> click.Command:
    """Make the command of a kind from its model."""
    inputs = _model(model, "inputs")
    options = _model(model, "options")
    run = _model(model, "run")
    parameters: list[click.Parameter] = []
    for name, field in inputs.model_fields.items():
        kind = click.Path(path_type=Path)
        if field.is_required():
            parameters.append(click.Argument([f"inputs__{name}"], type=kind, metavar=name.upper()))
        else:
            parameters.append(click.Option(_flags("inputs", name, field), type=kind, help=field.description))
    parameters.append(
        click.Option(["-o", "--output"], type=click.Path(path_type=Path), required=True, help="folder for the result")
    )
    for section, section_model in (("options", options), ("run", run)):
        for name, field in section_model.model_fields.items():
            parameters.append(_option(section, name, field))
    parameters += [
        click.Option(["--submit"], is_flag=True, help="hand it to the daemon and print its id"),
        click.Option(["--wait"], is_flag=True, help="with --submit: wait until it is finished"),
        click.Option(["--json", "as_json"], is_flag=True, help="with --submit: print JSON"),
    ]

    def callback(**values: Any) -> int:
        return _start(model, values)

    kind_name = str(model.model_fields["kind"].default)
    return click.Command(
        kind_name.partition(".")[2],
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


def _option(section: str, name: str, field: FieldInfo) -> click.Option:
    """One option of a kind. Values are checked by the model, so that every way in gives the same message."""
    flags = _flags(section, name, field)
    # Not given stays None, so that the model's own default counts; here it is only shown.
    default = "" if field.default in (None, False) else f"  [default: {field.default}]"
    words = f"{field.description or ''}{default}"
    annotation = field.annotation
    if annotation is bool:
        return click.Option(flags, is_flag=True, flag_value=True, default=None, help=words)
    if typing.get_origin(annotation) is Literal:
        choice = click.Choice([str(value) for value in typing.get_args(annotation)])
        return click.Option(flags, type=choice, default=None, help=words)
    number = float if float in _members(annotation) else int if int in _members(annotation) else str
    return click.Option(flags, type=number, default=None, help=words)


def _members(annotation: Any) -> tuple[Any, ...]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)
