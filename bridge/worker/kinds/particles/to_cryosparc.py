"""`particles.to_cryosparc`: particles of RELION as a table of CryoSPARC."""

from __future__ import annotations

from cryobridge.schemas.kinds.particles.to_cryosparc import ParticlesToCryosparcJob
from cryobridge.wrappers.formats.cs_table import table_bytes
from cryobridge.wrappers.formats.star_columns import read_columns
from cryobridge.wrappers.particles.from_relion import cryosparc_table, is_read

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report.page import Report, as_html
from .two_fold import turn_between

RESULT = "particles.cs"


def run(job: ParticlesToCryosparcJob, context: Context) -> JobSteps:
    """Write the table and the report."""
    folder, options, path = context.folder, job.options, job.inputs.star
    blocks = read_columns(path, is_read)
    turn = turn_between(options.symmetry, "x", "y", job.inputs.map)
    folder.mark("read")
    yield Progress("read", 0.3)

    table = cryosparc_table(blocks, str(path), options.pixel_size_A, options.box, turn.degrees)
    remarks = [*table.remarks, *([turn.why] if turn.why else [])]
    remarks.append(
        "Images are named as RELION's are, and taken for bright on dark ('blob/sign' 1); give their folder when the "
        "table is imported."
    )
    folder.remark(remarks)
    folder.mark("convert")
    # What is left out must be seen without opening the report.
    for line in remarks:
        yield Progress(line, 0.7)

    folder.write_data(RESULT, table_bytes(table.columns))
    count = len(table.columns["uid"])
    page = Report(
        title="Particles for CryoSPARC",
        summary=f"{count} particles, written as a table of CryoSPARC.",
        facts={
            "particles": str(path),
            "number of particles": str(count),
            "point group": options.symmetry,
            "columns": ", ".join(table.columns),
        },
        figures=[],
        statements=remarks,
        methods=[],
    )
    folder.write_text(REPORT_NAME, as_html(page))
    return folder.finish(metrics={"particles": count, "turned_deg": turn.degrees})
