"""`particles.to_relion`: particles of CryoSPARC as a STAR file of RELION."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.particles.to_relion import ParticlesToRelionJob
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import Columns, joined, read_table, slot_of
from cryobridge.wrappers.particles.from_cryosparc import RelionTables, relion_tables, star_blocks

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report.page import Report, as_html
from .two_fold import turn_between

RESULT = "particles.star"
LINKS = "stacks"
_WANTED = ("blob/", "ctf/", "alignments3D/", "location/")
_STACK = (".mrc", ".mrcs")


def run(job: ParticlesToRelionJob, context: Context) -> JobSteps:
    """Write the table, links to its stacks if the project's folder is known, and the report."""
    folder, options, path = context.folder, job.options, job.inputs.particles
    # Slots of classes are as many as there are classes, and are read only when they are asked for.
    wanted = None if options.alignment == "classes" else _WANTED
    own = read_table(path, wanted)
    passed = [read_table(one, wanted) for one in job.inputs.passthrough or ()]
    columns = joined(own, passed, str(path))
    turn = turn_between(options.symmetry, "y", "x", job.inputs.map)
    tables = relion_tables(columns, str(path), options.alignment, turn.degrees)
    count, groups = len(tables.particles["rlnImageName"]), len(tables.optics["rlnOpticsGroup"])
    folder.mark("read")
    yield Progress(f"read {count} particles", 0.3)

    tables, linked = _with_stacks(tables, str(path), job.inputs.project, folder.path)
    for name, target in linked.items():
        folder.link(name, target)
    used = _used(tables.slot, own, columns)
    remarks = [used, *tables.remarks, *([turn.why] if turn.why else []), _of_stacks(len(linked))]
    folder.remark(remarks)
    folder.mark("convert")
    # What is left out must be seen without opening the report.
    for line in remarks:
        yield Progress(line, 0.7)

    folder.write_text(RESULT, star.format_blocks(star_blocks(tables)))
    facts = {
        "particles": str(path),
        "number of particles": str(count),
        "optics groups": str(groups),
        "alignments": tables.slot or "none",
        "contrast": tables.contrast,
        "point group": options.symmetry,
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
    return folder.finish(metrics={"particles": count, "optics_groups": groups, "turned_deg": turn.degrees})


def _used(slot: str, own: Columns, columns: Columns) -> str:
    """Which alignments were taken, and what came from the passthrough files."""
    of_own = {slot_of(column) for column in own}
    from_passed = sorted({slot_of(column) for column in columns} - of_own)
    where = "the job's own table" if slot in of_own else "the passthrough files"
    poses = f"Poses and shifts are those of '{slot}' in {where}." if slot else "No poses and shifts are written."
    return poses + (f" From the passthrough files come {', '.join(from_passed)}." if from_passed else "")


def _of_stacks(linked: int) -> str:
    if linked:
        return (
            f"Stacks are linked in '{LINKS}' under names ending in .mrcs, as RELION needs them ({linked} in all), by "
            "the full path of this folder: leave it where it is."
        )
    return (
        "Paths of images are as CryoSPARC has them; RELION reads stacks only under names ending in .mrcs. Give "
        "'project', and they are linked under such names."
    )


def _with_stacks(
    tables: RelionTables, table: str, project: Path | None, output: Path
) -> tuple[RelionTables, dict[str, Path]]:
    """The tables with images from linked stacks, and what each link leads to; no links where no project is given.

    Raises
    ------
    InputInvalid
        If a stack is not in the project, or is none.
    """
    if project is None:
        return tables, {}
    split = [str(name).partition("@") for name in tables.particles["rlnImageName"]]
    stacks, which = np.unique([stack for _, _, stack in split], return_inverse=True)
    links: dict[str, Path] = {}
    names: list[str] = []
    for stack in map(str, stacks):
        name = _link_name(stack, links)
        links[name] = _target(project, stack, table)
        names.append(str(output / name))
    if '"' in str(output):
        raise InputInvalid(f"{output} (output): a STAR file cannot name what lies there, for its quotation mark")
    images = [f"{number}@{names[at]}" for (number, _, _), at in zip(split, which.ravel(), strict=True)]
    return replace(tables, particles={**tables.particles, "rlnImageName": np.array(images)}), links


def _link_name(stack: str, taken: dict[str, Path]) -> str:
    """A name of its own for each stack, without blanks: `a.mrc` and `a.mrcs` would else be called the same."""
    relative = PurePosixPath("_".join(stack.split())).with_suffix("")
    name, number = f"{LINKS}/{relative}.mrcs", 1
    while name in taken:
        number += 1
        name = f"{LINKS}/{relative}_{number}.mrcs"
    return name


def _target(project: Path, stack: str, table: str) -> Path:
    relative = PurePosixPath(stack)
    if relative.is_absolute() or ".." in relative.parts:
        raise InputInvalid(f"{table}: names the stack {stack}, which is no path inside of the project {project}")
    if relative.suffix.lower() not in _STACK:
        raise InputInvalid(f"{table}: names the stack {stack}, which is no MRC stack ({' or '.join(_STACK)})")
    target = project / relative
    if not target.is_file():
        raise InputInvalid(f"{target}: there is no such stack; give the folder of the project that it lies in")
    return target.resolve()
