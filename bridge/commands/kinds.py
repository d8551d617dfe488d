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
from cryobridge.schemas.errors import CryobridgeError, OptionsInvalid

from ..foreground import run_in_foreground
from ..spoken import NAMES_NAME, as_typed
from .jobs import given_again, hand_over
from .nearest import NearestGroup
from .parameters import (
    INPUTS,
    OPTIONS,
    RUNNING,
    KindArgument,
    KindCommand,
    KindOption,
    argument,
    option,
    output_option,
    with_dashes,
)

if TYPE_CHECKING:
    from cryobridge.schemas.describe import FieldDescription, KindDescription
    from cryobridge.schemas.envelope import Job


def families() -> Iterator[click.Group]:
    """A group of commands for each family of kinds that has commands, e.g. `map`; none of its kinds is imported yet."""
    for module in pkgutil.iter_modules(kinds.__path__):
        if module.ispkg:
            package = importlib.import_module(f"{kinds.__name__}.{module.name}")
            words = getattr(package, "COMMANDS", None)
            if words is not None:
                yield KindGroup(module.name, help=words)


class KindGroup(NearestGroup):
    """The commands of all kinds that begin with the group's name and a dot."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every kind of the group, by its last word."""
        from cryobridge.schemas.job import user_kinds

        return [kind.partition(".")[2] for kind in user_kinds() if kind.startswith(f"{self.name}.")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of one kind; for its help no other is imported."""
        from cryobridge.schemas.envelope import JOB_MODELS

        kind = f"{self.name}.{cmd_name.replace('-', '_')}"
        kinds.load_kind(kind)
        model = JOB_MODELS.get(kind)
        return command_of(model) if model is not None and model.user_kind else None


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
    parameters: list[click.Parameter] = [*_input_parameters(kind, places), output_option(kind)]
    # The kind's own options first, then the groups in the order in which the model names them.
    groups = sorted(dict.fromkeys(field.group for field in kind.options), key=bool)
    for group in groups:
        fields = [field for field in kind.options if field.group == group]
        parameters += [option(_noted(places, "options", field), group or OPTIONS, field) for field in fields]
    parameters += [option(_noted(places, "run", field), RUNNING, field) for field in kind.run]
    parameters += [
        click.Option(["--submit"], is_flag=True, help="hand it to the daemon and print its id"),
        click.Option(["--wait"], is_flag=True, help="with --submit: wait until it is finished"),
        click.Option(["--json", "as_json"], is_flag=True, help="with --submit: print JSON"),
    ]

    def callback(**values: Any) -> int:
        names = _names(click.get_current_context(), places)
        try:
            return _start(kind.kind, places, names, values)
        except OptionsInvalid as error:
            raise click.UsageError(as_typed(error.sentence, names)) from error
        except CryobridgeError as error:
            error.args = (as_typed(str(error), names),)
            raise

    return KindCommand(
        kind.kind.rpartition(".")[2],
        params=parameters,
        callback=callback,
        help=kind.help,
        context_settings={"token_normalize_func": with_dashes},
    )


def _start(kind: str, places: Mapping[str, _Place], names: Mapping[str, str], values: dict[str, Any]) -> int:
    from cryobridge.schemas.describe import nested
    from cryobridge.schemas.envelope import JOB_SCHEMA
    from cryobridge.schemas.job import check_paths, parse_job

    given = {places[name]: value for name, value in values.items() if name in places and value not in (None, ())}
    spec: dict[str, Any] = {"schema": JOB_SCHEMA, "kind": kind, "output": values["output"]}
    for section in ("inputs", "options", "run"):
        spec[section] = nested({place.key: value for place, value in given.items() if place.section == section})
    job = parse_job(spec, "").resolved(Path.cwd())
    if (values["wait"] or values["as_json"]) and not values["submit"]:
        raise click.UsageError("--wait and --json go with --submit")
    check_paths(job)
    if values["submit"]:
        return hand_over(job.as_spec(), wait_too=values["wait"], as_json=values["as_json"])
    with given_again(job), tempfile.TemporaryDirectory(prefix="cryobridge-") as folder:
        job_file = Path(folder) / "job.json"
        job_file.write_text(json.dumps(job.as_spec()))
        job_file.with_name(NAMES_NAME).write_text(json.dumps(names))
        return run_in_foreground(job_file)


def _names(ctx: click.Context, places: Mapping[str, _Place]) -> dict[str, str]:
    """What the keys of the job are called on this command line."""
    names = {}
    for parameter in ctx.command.params:
        if isinstance(parameter, KindOption | KindArgument):
            place = places.get(str(parameter.name))
            names[f"{place.section}.{place.key}" if place else str(parameter.name)] = parameter.typed(ctx)
    return names


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
        # Only at the end is it clear where a list ends; any other is an option that is repeated.
        if field in needed and (field.type != "files" or field is needed[-1]):
            yield argument(name, field)
        else:
            yield option(name, INPUTS, field)
