"""`tomo.prepare_star`: a folder of tomograms as a table, with what their headers and tilt angles say."""

from __future__ import annotations

from collections.abc import Sequence

from cryobridge.core.tomogram import WedgeEvidence
from cryobridge.schemas.kinds.tomo.prepare_star import TomoPrepareStarJob
from cryobridge.wrappers.tomograms.table_text import NOTHING

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...report.page import Report, as_html
from ...tomograms.collecting import CollectedTable, collect_table


def run(job: TomoPrepareStarJob, context: Context) -> JobSteps:
    """Write the table, a list of tilt angles for each tomogram that has one, and the report."""
    folder = context.folder
    table = yield from collect_table(job.inputs, job.options, context)
    folder.write_text(REPORT_NAME, as_html(_report(job, table)))
    return folder.finish(
        metrics={
            "tomograms": len(table.tomograms),
            "left_out": table.found - len(table.tomograms),
            "with_halves": sum(one.files.half1 is not None for one in table.tomograms),
            "averaged": table.averaged,
            "with_tilt_angles": sum(one is not None for one in table.tilts),
            "with_defocus": sum(one != 0 for one in table.defoci_A),
            "wedge_seen": len(table.seen),
        }
    )


def _report(job: TomoPrepareStarJob, table: CollectedTable) -> Report:
    """The page: what was found, where from, in which sign."""
    tomograms, columns, seen, defoci_A = table.tomograms, table.columns, table.seen, table.defoci_A
    known = [one for one in table.tilts if one is not None]
    facts = {
        "folder": str(job.inputs.folder),
        "tomograms": str(len(tomograms)),
        "with halves": str(sum(one.files.half1 is not None for one in tomograms)),
        "whole ones averaged from halves": str(table.averaged),
        "sides": _spread([" x ".join(str(side) for side in reversed(one.shape)) for one in tomograms]),
        "voxel size": _spread([f"{one.voxel_size_A:.4g} A" for one in tomograms]),
        "lowest tilt": _spread(
            [f"{float(one):.4g} degrees" for one in columns.get("rlnTiltMin", []) if one != NOTHING]
        ),
        "highest tilt": _spread(
            [f"{float(one):.4g} degrees" for one in columns.get("rlnTiltMax", []) if one != NOTHING]
        ),
        "tilt angles from": _spread([one.source for one in known]),
        "tomograms made by": f"{job.options.maker}{', mirrored along z' if job.options.mirrored else ''}",
        "empty wedge about y": f"seen in {len(seen)} of {len(tomograms)}"
        if job.options.check_wedge
        else "not looked at",
        "sign of the range": _spread([_sign(one) for one in seen]),
        "defocus at 0 degrees": _spread(["not known" if value == 0 else f"{value:.0f} A" for value in defoci_A]),
        "columns": ", ".join(columns),
    }
    return Report(
        title="Table of tomograms",
        summary=f"{len(tomograms)} tomograms, {len(known)} with tilt angles, "
        f"{sum(value != 0 for value in defoci_A)} with a defocus.",
        facts=facts,
        figures=[],
        statements=[
            "Tilt angles are written in one convention: a tilt of t degrees measures the direction (cos t, sin t) of "
            "(x, z) in Fourier space."
        ]
        if known
        else [],
        methods=[],
        warnings=list(table.remarks),
    )


def _sign(evidence: WedgeEvidence) -> str:
    if evidence.is_turned is None:
        return "cannot be told"
    return "other than the data's" if evidence.is_turned else "as the data have it"


def _spread(texts: Sequence[str]) -> str:
    """All different values, a few of them if there are many."""
    different = list(dict.fromkeys(texts))
    return (", ".join(different[:5]) + (f" and {len(different) - 5} more" if len(different) > 5 else "")) or "none"
