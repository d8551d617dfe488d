"""`cryobridge cryosparc run --job-dir`: a job on the files of a job of CryoSPARC, without any server or login."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cryobridge.schemas import wire
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable, InputInvalid, OptionsInvalid

from ..client import DaemonClient
from ..foreground import run_in_foreground
from ..interrupted import Interrupted
from ..spoken import NAMES_NAME, as_typed
from ..users import user_name
from .jobs import given_again, hand_over

if TYPE_CHECKING:
    from cryobridge.schemas.envelope import Job
    from cryobridge.wrappers.cryosparc.folder.folder_job import FolderJob
    from cryobridge.wrappers.cryosparc.options_block import CardOptions

NAMES = {"run.overwrite": "--overwrite", "output": "--output", "use_mask": "--use-mask"}
"""What the keys of a job are called here."""

_OF_SERVER = ("url", "email", "project", "workspace", "volume", "mask", "particles")
_NEEDED_BY_SERVER = ("url", "project", "workspace")
_OF_FOLDER = ("mask_dir", "particles_dir", "output", "overwrite")
_PLACE = click.Path(path_type=Path)


def folder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name folders in the place of a server's jobs."""
    for option in reversed(
        (
            click.option(
                "--job-dir",
                type=_PLACE,
                help="Without a server: folder of the job whose volume is used, or a .cs or exported .csg in one.",
            ),
            click.option("--mask-dir", type=_PLACE, help="With --job-dir: folder of the job whose mask is used."),
            click.option("--particles-dir", type=_PLACE, help="With --job-dir: of the job whose particles are used."),
            click.option(
                "--output", "-o", type=_PLACE, help="With --job-dir: folder for the result; a new one here by default."
            ),
            click.option("--overwrite", is_flag=True, help="With --job-dir: replace a finished result."),
            click.option(
                "--also-read",
                multiple=True,
                type=click.Path(path_type=Path, exists=True, file_okay=False),
                help="Folder outside of the project that links in it may lead to; may be repeated.",
            ),
        )
    ):
        command = option(command)
    return command


def folder_run(ctx: click.Context, given: dict[str, Any]) -> FolderRun | None:
    """What was typed of folders, taken out of `given`; None where the job is a server's.

    Raises
    ------
    UsageError
        If options of both are mixed, or one that is needed is missing.
    """
    typed = [name for name in given if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    folder = {name: given.pop(name) for name in ("job_dir", *_OF_FOLDER)}
    if folder["job_dir"] is None:
        if misplaced := [name for name in typed if name in _OF_FOLDER]:
            raise click.UsageError(f"{_flags(misplaced)} goes with --job-dir only")
        if missing := [name for name in _NEEDED_BY_SERVER if not given[name]]:
            raise click.UsageError(
                f"{_flags(missing)} is missing; or give --job-dir, a job's folder, to run without a server"
            )
        return None
    if mixed := [name for name in typed if name in _OF_SERVER]:
        raise click.UsageError(f"--job-dir runs without a server; {_flags(mixed)} does not go with it")
    others = {name: folder[f"{name}_dir"] for name in ("mask", "particles") if folder[f"{name}_dir"] is not None}
    for text in given.pop("connect"):
        name, equals, place = text.partition("=")
        if not equals or not place:
            raise InputInvalid(f"'{text[:80]}' is not written as INPUT=FOLDER, e.g. fsc3d=/data/CS-project/J50")
        others[name] = Path(place)
    return FolderRun(folder["job_dir"], others, given.pop("also_read"), folder["output"], folder["overwrite"])


def _flags(names: list[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


@dataclass(frozen=True)
class FolderRun:
    """What was typed: folders, by input where they are not the job's own, and where the result goes."""

    job_dir: Path
    others: Mapping[str, Path]
    also_read: tuple[Path, ...]
    output: Path | None
    overwrite: bool


def run_on_folder(options: CardOptions, asked: FolderRun) -> int:
    """Run a job on a job's folder, by the daemon where one of this user answers, else here; return the exit code.

    Raises
    ------
    CryobridgeError
        If it cannot be begun; in the words of the command line.
    """
    from cryobridge.wrappers.cryosparc.folder.folder_job import default_output, folder_job, is_finished, remove_groups
    from cryobridge.wrappers.cryosparc.folder.job_folder import Folders, project_of

    folders = Folders(asked.job_dir.absolute(), {k: v.absolute() for k, v in asked.others.items()}, asked.also_read)
    try:
        output = asked.output or default_output(options.kind, folders.job, project_of(folders.job))
        wanted = folder_job(options, folders, output.absolute(), overwrite=asked.overwrite)
        for note in wanted.found.notes:
            click.echo(note)
        if is_finished(wanted.job):
            click.echo(f"{wanted.job.output} holds the result of this job already")
        else:
            remove_groups(wanted.job.output)
            if (code := _done(wanted.job)) != wire.EXIT_OK:
                return code
        return _handed_back(wanted)
    except OptionsInvalid as error:
        raise click.UsageError(as_typed(error.sentence.replace("'options.", "'"), NAMES)) from error
    except CryobridgeError as error:
        error.args = (as_typed(str(error), NAMES),)
        raise


def _done(job: Job) -> int:
    """Have the job done; its exit code."""
    if _has_own_daemon():
        try:
            code = hand_over(job.as_spec(), wait_too=True, as_json=False)
        except Interrupted as error:
            raise Interrupted(
                f"{error}; given again after its end, this command writes what CryoSPARC imports"
            ) from None
        click.echo(f"result in {job.output}" if code == wire.EXIT_OK else f"its log is in {job.output}")
        return code
    with given_again(job), tempfile.TemporaryDirectory(prefix="cryobridge-") as folder:
        job_file = Path(folder) / "job.json"
        job_file.write_text(json.dumps(job.as_spec()))
        job_file.with_name(NAMES_NAME).write_text(json.dumps(NAMES))
        code = run_in_foreground(job_file)
    return wire.EXIT_FAILED if code == wire.EXIT_USAGE else code


def _has_own_daemon() -> bool:
    """Whether a daemon answers that reads and writes with this user's rights; says so where not."""
    try:
        with DaemonClient.connect() as client:
            uid = client.uid
    except DaemonUnavailable:
        click.echo("no daemon answers; running here, in the foreground", err=True)
        return False
    if uid == os.getuid():
        return True
    click.echo(f"the daemon that answers is {user_name(uid)}'s, not yours; running here, in the foreground", err=True)
    return False


def _handed_back(done: FolderJob) -> int:
    """Write what CryoSPARC can import, and say where it is."""
    from cryobridge.wrappers.cryosparc.card.rights import share
    from cryobridge.wrappers.cryosparc.folder.folder_job import write_groups

    groups = write_groups(done)
    share(done.job.output, done.job.output.parent)
    for path, title in groups:
        click.echo(f"{path}: {title}")
    if groups:
        click.echo(
            "Import these with CryoSPARC's job 'Import Result Group', or maps alone with 'Import 3D Volumes'; "
            "it must be able to read the folder."
        )
    return wire.EXIT_OK
