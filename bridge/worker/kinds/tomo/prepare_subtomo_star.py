"""`tomo.prepare_subtomo_star`: a folder of subtomograms as a table, by what their headers say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.prepare_subtomo_star import TomoPrepareSubtomoStarJob
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.name_matching import files_in
from cryobridge.wrappers.tomograms.subtomo_table import default_cube_size, subtomo_star
from cryobridge.wrappers.tomograms.voxel_sizes import believed_voxel_size_A

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report.page import Report, as_html

_UNKNOWN_A = 10.0
"""IsoNet's own default; its subtomograms have no size in their headers, and no training asks for one."""
_AT_ONCE = 200


def run(job: TomoPrepareSubtomoStarJob, context: Context) -> JobSteps:
    """Write the table and the report."""
    folder, options, source = context.folder, job.options, job.inputs.folder
    paths = files_in(source, (".mrc", ".rec", ".mrc.gz"))
    if not paths:
        raise InputInvalid(f"{source}: holds no subtomograms (.mrc); give their folder")
    headers: dict[Path, mrc.MrcHeader] = {}
    remarks: list[str] = []
    for number, path in enumerate(paths):
        try:
            headers[path] = mrc.read_header(path)
        except InputInvalid as error:
            remarks.append(f"Left out: {error}")
        if number % _AT_ONCE == 0:
            yield Progress(f"read {number} of {len(paths)} headers", 0.8 * number / len(paths))
    if not headers:
        raise InputInvalid(f"{source}: none of its {len(paths)} files can be read as a map (MRC); {remarks[0]}")
    size = _one_size(headers)
    cube_size, said = _cube_size(size, options.cube_size, source)
    sizes_A, unknown = _pixel_sizes_A(headers, options.pixel_size_A)
    remarks += [*said, *unknown]
    folder.mark("read")
    yield from context.remarked(remarks)

    table = folder.path / options.output_star
    text = subtomo_star(list(headers), table, cube_size=cube_size, crop_size=size, pixel_size_A=sizes_A)
    folder.write_text(options.output_star, text)
    facts = {
        "folder": str(source),
        "subtomograms": str(len(headers)),
        "left out": str(len(paths) - len(headers)),
        "crop": f"{size} voxels a side",
        "cube": f"{cube_size} voxels a side",
        "voxel size": f"{min(sizes_A):.4g} A",
    }
    page = Report(
        title="Table of subtomograms",
        summary=f"{len(headers)} subtomograms of {size} voxels a side, of which {cube_size} are trained on.",
        facts=facts,
        figures=[],
        statements=[],
        methods=[],
        warnings=remarks,
    )
    folder.write_text(REPORT_NAME, as_html(page))
    return folder.finish(
        metrics={
            "subtomograms": len(headers),
            "left_out": len(paths) - len(headers),
            "crop_size": size,
            "cube_size": cube_size,
        }
    )


def _one_size(headers: dict[Path, mrc.MrcHeader]) -> int:
    """Voxels a side, of all of them."""
    (usual, _), *_ = Counter(header.shape for header in headers.values()).most_common(1)
    for path, header in headers.items():
        if len(set(header.shape)) > 1:
            z, y, x = header.shape
            raise InputInvalid(f"{path}: has {x} x {y} x {z} voxels; subtomograms are cubic, cut them anew")
        if header.shape != usual:
            raise InputInvalid(
                f"{path}: has {header.shape[0]} voxels a side, most others {usual[0]}; give those of one size"
            )
    return usual[0]


def _cube_size(size: int, wanted: int | None, source: Path) -> tuple[int, list[str]]:
    """The cube that is trained on, and why it is not the one that was asked for."""
    if wanted is not None and wanted < size:
        return wanted, []
    cube_size = default_cube_size(size)
    if cube_size == 0:
        raise InputInvalid(
            f"{source}: subtomograms of {size} voxels a side are too small for a cube of 16; give 'cube_size'"
        )
    if wanted is None:
        return cube_size, []
    return cube_size, [f"A cube of {wanted} has no room in subtomograms of {size}; {cube_size} is taken."]


def _pixel_sizes_A(headers: dict[Path, mrc.MrcHeader], given_A: float | None) -> tuple[list[float], list[str]]:
    if given_A is not None:
        return [given_A] * len(headers), []
    believed = [believed_voxel_size_A(header) for header in headers.values()]
    unknown = sum(one is None for one in believed)
    remarks = [f"{unknown} subtomograms have no voxel size in their headers; {_UNKNOWN_A:g} A is written."]
    return [_UNKNOWN_A if one is None else one for one in believed], remarks if unknown else []
