"""`particles.to_relion`: particles of CryoSPARC as a STAR file of RELION."""

from __future__ import annotations

from cryobridge.schemas.kinds.particles.to_relion import ParticlesToRelionJob
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import Columns, joined, read_table, slot_of
from cryobridge.wrappers.particles.from_cryosparc import relion_tables, star_blocks

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report.page import Report, as_html
from .linked_stacks import linked_stacks, said_of_stacks
from .two_fold import turn_between

RESULT = "particles.star"
_WANTED = ("blob/", "ctf/", "alignments3D/", "location/")


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

    tables, linked = linked_stacks(tables, str(path), job.inputs.project, folder.path)
    for name, target in linked.items():
        folder.link(name, target)
    used = _used(tables.slot, own, columns)
    remarks = [used, *tables.remarks, *([turn.why] if turn.why else []), said_of_stacks(len(linked))]
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
