"""`particles.to_relion`: particles of CryoSPARC as a STAR file of RELION."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.particles.to_relion import ParticlesToRelionJob
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import joined, read_table
from cryobridge.wrappers.particles.from_cryosparc import RelionTables, relion_tables, star_blocks

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report.page import Report, as_html
from .two_fold import turn_between

RESULT = "particles.star"
LINKS = "stacks"
_WANTED = ("uid", "blob/", "ctf/", "alignments3D/", "alignments3D_multi/", "location/")


def run(job: ParticlesToRelionJob, context: Context) -> JobSteps:
    """Write the table, links to its stacks if the project's folder is known, and the report."""
    folder = context.folder
    path = job.inputs.particles
    own = read_table(path)
    passed = [read_table(one) for one in job.inputs.passthrough or ()]
    columns = joined(own, passed, str(path)) if passed else own
    turn = turn_between(job.options.symmetry, "y", "x", job.inputs.map)
    folder.mark("read")
    yield Progress(f"read {len(columns['uid'])} particles", 0.3)

    tables = relion_tables(columns, str(path), job.options.alignment, turn.degrees)
    from_passed = sorted({name.partition("/")[0] for name in columns if name not in own})
    remarks = [*tables.remarks, *([turn.why] if turn.why else [])]
    if from_passed:
        remarks.append(f"From the passthrough files come {', '.join(from_passed)}; all else is the job's own.")
    tables, linked = _with_stacks(tables, job.inputs.project, folder.path)
    for name, target in linked.items():
        folder.link(name, target)
    remarks.append(
        f"{len(linked)} stacks are linked in '{LINKS}' under names ending in .mrcs, as RELION needs them."
        if linked
        else "Paths of images are as CryoSPARC has them; RELION reads stacks only under names ending in .mrcs."
    )
    folder.mark("convert")
    yield Progress("converted", 0.7)

    folder.write_text(RESULT, star.format_blocks(star_blocks(tables)))
    count, groups = len(columns["uid"]), len(tables.optics["rlnOpticsGroup"])
    facts = {
        "particles": str(path),
        "number of particles": str(count),
        "optics groups": str(groups),
        "alignments": job.options.alignment,
        "point group": job.options.symmetry,
        "columns": ", ".join(tables.particles),
    }
    page = Report(
        title="Particles for RELION",
        summary=f"{count} particles in {groups} optics groups, written for RELION 3.1 and later.",
        facts=facts,
        figures=[],
        statements=remarks,
        methods=[],
    )
    folder.write_text(REPORT_NAME, as_html(page))
    return folder.finish(
        metrics={"particles": count, "optics_groups": groups, "turned_deg": turn.degrees}, statements=remarks
    )


def _with_stacks(tables: RelionTables, project: Path | None, output: Path) -> tuple[RelionTables, dict[str, Path]]:
    """The tables with images from linked stacks, and what each link leads to; no links where no project is given.

    Raises
    ------
    InputInvalid
        If a stack is not in the project.
    """
    if project is None:
        return tables, {}
    numbers, _, paths = (np.array(part) for part in zip(*(name.partition("@") for name in _names(tables)), strict=True))
    stacks, which = np.unique(paths, return_inverse=True)
    links = {}
    names = []
    for stack in map(str, stacks):
        relative = PurePosixPath(stack)
        target = project / relative
        if relative.is_absolute() or ".." in relative.parts or not target.is_file():
            raise InputInvalid(f"{target}: there is no such stack; give the folder of the project that it lies in")
        name = f"{LINKS}/{relative.with_suffix('.mrcs')}"
        links[name] = target.resolve()
        names.append(str(output / name))
    images = np.char.add(np.char.add(numbers, "@"), np.array(names)[which.ravel()])
    return replace(tables, particles={**tables.particles, "rlnImageName": images}), links


def _names(tables: RelionTables) -> list[str]:
    return [str(name) for name in tables.particles["rlnImageName"]]
