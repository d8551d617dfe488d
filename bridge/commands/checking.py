"""Commands that check and show: doctor, the configuration, the demo."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from cryobridge.schemas.errors import OptionsInvalid
from cryobridge.schemas.requests import AskSettings

from ..client import DaemonClient
from ..foreground import run_in_foreground
from ..interrupted import interrupted
from ..spoken import NAMES_NAME, as_typed
from . import render
from .daemon import PASS_THROUGH, exec_module, json_option
from .findings import show
from .nearest import NearestGroup

_CHECK_NAMES = {"run.devices": "--devices", "output": "--output"}


@click.command()
@click.argument("job_folder", type=click.Path(path_type=Path), required=False)
@click.option("--tiny-job/--no-tiny-job", default=True, show_default=True, help="Run a small job end to end.")
@json_option
def doctor(job_folder: Path | None, tiny_job: bool, as_json: bool) -> int:
    """Check that RELION will find the bridge, and that it works; with JOB_FOLDER, check that refinement too.

    Each line says ok, warn or fail, and what to do, as soon as it is found. Exit 0: nothing failed; 1: something did.
    """
    from ..doctor.installation import examine

    return show(examine(job_folder, tiny_job=tiny_job), as_json=as_json)


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Keep the report in this folder.")
@click.option("--devices", default="auto", show_default=True, help="auto, cpu or gpu.")
def check(output: Path | None, devices: str) -> int:
    """See whether this machine can do the work: device, memory, a training step and a prediction, disk.

    The job `check`, run here; 'doctor' checks the way from RELION to the daemon instead.
    """
    from cryobridge.schemas.envelope import JOB_SCHEMA
    from cryobridge.schemas.job import check_paths, parse_job

    with tempfile.TemporaryDirectory(prefix="cryobridge-") as folder:
        spec = {
            "schema": JOB_SCHEMA,
            "kind": "check",
            "output": str(output or Path(folder) / "check"),
            "run": {"devices": devices},
        }
        try:
            job = parse_job(spec, "").resolved(Path.cwd())
        except OptionsInvalid as error:
            raise click.UsageError(as_typed(error.sentence, _CHECK_NAMES)) from error
        check_paths(job)
        job_file = Path(folder) / "job.json"
        job_file.write_text(json.dumps(job.as_spec()))
        job_file.with_name(NAMES_NAME).write_text(json.dumps(_CHECK_NAMES))
        with interrupted("the same command begins again"):
            return run_in_foreground(job_file, keeps_folder=output is not None)


@click.group(cls=NearestGroup)
def config() -> None:
    """Show how the daemon is configured."""


@config.command("show")
@click.option("--config", "path", type=click.Path(path_type=Path), help="A configuration file (YAML).")
@click.option("--running", is_flag=True, help="What the daemon that runs was started with (for its operators).")
@json_option
def config_show(path: Path | None, running: bool, as_json: bool) -> None:
    """Print every setting with its value and where it came from. There are no secrets among them."""
    from cryobridge.schemas.config import load, settings

    if running:
        if path is not None:
            raise click.UsageError("--running asks the daemon; it reads no --config")
        with DaemonClient.connect() as client:
            values = client.request(AskSettings()).get("settings") or {}
    else:
        values = settings(load(path))
    if as_json:
        render.as_json(values)
        return
    rows = [[key, "-" if one["value"] is None else one["value"], one["origin"]] for key, one in values.items()]
    render.table(["KEY", "VALUE", "FROM"], rows, "no settings")


@config.command("reference")
@click.option("--write", "path", type=click.Path(path_type=Path), help="Put it into this document, at its markers.")
def config_reference(path: Path | None) -> None:
    """Print every key and variable there is, with defaults and meaning (Markdown).

    Documents: docs/configuration.md holds all of it, docs/jobs.md the table of kinds.
    """
    from .reference import tables, write_into

    if path is None:
        click.echo(tables(), nl=False)
    else:
        write_into(path)


@click.command(context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """Run the whole thing on a small simulated refinement ('cryobridge demo --help' lists its options)."""
    exec_module("cryobridge.wrappers.relion.demo", arguments)


@click.command("demo-particles", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo_particles(arguments: tuple[str, ...]) -> None:
    """Write a small simulated RELION project with particles in two states ('--help' lists its options)."""
    exec_module("cryobridge.wrappers.relion.demo_particles", arguments)


COMMANDS = (doctor, check, config, demo, demo_particles)
