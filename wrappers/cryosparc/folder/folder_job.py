"""A job on the folder of a job of CryoSPARC: what is asked for, where it goes, and what can be imported afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryobridge.schemas.envelope import JOB_NAME, JOB_SCHEMA, RESULT_NAME, Job
from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.schemas.job import check_paths, parse_job
from cryobridge.schemas.jobfile import load_job
from cryobridge.schemas.result import read_result

from ..card.outputs import Placed, planned, row_id
from ..card.request import recipe_for
from ..options_block import CardOptions
from ..recipes import VOLUME, CardRecipe, recipes
from .job_folder import FolderInputs, Folders, inputs_of_folders, project_of
from .result_group import write_volume_group

_OF_CRYOSPARC = re.compile(r"[JS]\d{1,9}")
_SOURCE = "the options"


@dataclass(frozen=True)
class FolderJob:
    """A job and what has to be known when it is done."""

    recipe: CardRecipe
    job: Job
    found: FolderInputs


def folder_job(options: CardOptions, folders: Folders, output: Path, *, overwrite: bool) -> FolderJob:
    """Make the job, and check it as the daemon will; nothing is written but a table that has to be put together.

    Parameters
    ----------
    output
        Folder for the result, absolute.

    Raises
    ------
    OptionsInvalid, JobRejected
        If there is no such job, or no such option.
    InputInvalid
        If the folders do not hold what it needs, or the output lies in a folder of CryoSPARC's own.
    """
    recipe = recipe_for(options.kind)
    work = output.with_name(f"{output.name}-inputs")
    places = [folders.job, *folders.others.values()]
    for place in places:
        _refuse_foreign(output, place if place.is_dir() else place.parent)
    found = inputs_of_folders(recipe, folders, options.use_mask, work)
    spec = {
        "schema": JOB_SCHEMA,
        "kind": options.kind,
        "inputs": {key: str(path.absolute()) for key, path in found.paths.items()},
        "output": str(output),
        "options": options.options,
        "run": {"overwrite": overwrite},
    }
    job = parse_job(spec, _SOURCE)
    if not is_finished(job):
        check_paths(job)
    return FolderJob(recipe, job, found)


def is_finished(job: Job) -> bool:
    """Whether the output folder holds the result of this very job already, e.g. where its groups were not written."""
    if job.run.overwrite:
        return False
    try:
        before = load_job(job.output / JOB_NAME)
        read_result(job.output)
        done_at = (job.output / RESULT_NAME).stat().st_mtime
        is_newest = all(found.path.stat().st_mtime <= done_at for found in job.paths())
    except (CryobridgeError, OSError):
        return False
    return is_newest and _without_run(before.as_spec()) == _without_run(job.as_spec())


def default_output(kind: str, job_dir: Path, project: Path) -> Path:
    """A new folder in the current one, called after project, job and kind."""
    place = job_dir if job_dir.is_dir() else job_dir.parent
    return Path.cwd() / f"{project.absolute().name}-{place.absolute().name}-{kind}"


def write_groups(done: FolderJob) -> list[tuple[Path, str]]:
    """Write the groups that CryoSPARC can import, for every output that the result has files for.

    Returns
    -------
    list
        Each group's path (`.csg`) and title.

    Raises
    ------
    InputInvalid
        If there is no result, or it cannot be read.
    CryobridgeError
        If a group cannot be written.
    """
    output, found = done.job.output, done.found
    result = read_result(output)
    written = []
    for one in planned(done.recipe, result, {name: Placed(output / name, name) for name in result.outputs}):
        group, files = one.group, {slot.name: file.local for slot, file in one.files}
        if group.type == "particle":
            # Its table is there already, and says more than a group of files could.
            continue
        uids = found.uids.get(group.passthrough or "")
        if group.passthrough == VOLUME:
            files = {**found.handed_on, **files}
        uid = row_id(result, group.name) if uids is None else int(uids[0])
        path = write_volume_group(output, group.name, group.type, group.title, files, uid, found.project)
        written.append((path, group.title))
    return written


def remove_groups(output: Path) -> None:
    """Remove the groups of an earlier result, which is about to be replaced by one that may have fewer.

    Raises
    ------
    CryobridgeError
        If one cannot be removed.
    """
    groups = {(group.name, bool(group.numbered)) for recipe in recipes().values() for group in recipe.outputs}
    patterns = [f"{name}_*.csg" if is_numbered else f"{name}.csg" for name, is_numbered in sorted(groups)]
    for path in [path for pattern in patterns for path in sorted(output.glob(pattern))]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CryobridgeError(f"{path}: cannot be removed: {error.strerror}; give another output folder") from error


def _refuse_foreign(output: Path, folder: Path) -> None:
    """Nothing is ever written into what CryoSPARC has made: jobs, sessions, and the project's own folder."""
    real, read, root = output.resolve(), folder.resolve(), project_of(folder).resolve()
    inside = real.relative_to(root).parts if real.is_relative_to(root) else ()
    jobs = [root / inside[0]] if inside and _OF_CRYOSPARC.fullmatch(inside[0]) else []
    jobs += [read] if _OF_CRYOSPARC.fullmatch(read.name) and real.is_relative_to(read) else []
    if jobs:
        raise InputInvalid(f"{output} (output): lies in {jobs[0]}, which is CryoSPARC's own; give another folder")
    if real in (root, read):
        raise InputInvalid(f"{output} (output): is a folder that is read; give a new one in it, or elsewhere")


def _without_run(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "run"}
