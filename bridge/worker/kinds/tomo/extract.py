"""`tomo.extract`: subtomograms to train on, cut out at random places inside masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.extract import ExtractOptions, TomoExtractJob
from cryobridge.wrappers.formats.mrc_header import MapPosition
from cryobridge.wrappers.tomograms.subtomo_table import subtomo_star
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, opened_mask, volume_paths

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report import methods
from ...report.page import Figure, Report, as_html
from ...tomograms import literature
from ...tomograms.made_notes import MadeTomogram, state_of
from ...tomograms.row_steps import RowResults, RowSteps, RowTask, end_list, refuse_to_replace, row_by_row
from ...tomograms.shown_tomograms import SHOWN, counted, marked
from ...tomograms.subtomogram_places import drawn_places, given_places

_USUAL_NUMBER = 100
_SAID_EVERY = 20


def run(job: TomoExtractJob, context: Context) -> JobSteps:
    """Write the subtomograms, their table, and the report."""
    folder, options = context.folder, job.options
    table = read_tomogram_table(job.inputs.star)
    tasks, remarks = _tasks(job, context, table.chosen(options.tomo_idx))
    if options.log_level is not None:
        remarks.append("'log_level' has no effect here; what happens is in run.log.")
    folder.mark("read")
    yield Progress(f"{counted(len(tasks), 'tomogram', 'tomograms')} to cut", 0.0)
    yield from context.remarked(remarks)

    results = yield from row_by_row(context, tasks)
    folder.mark("extract")
    if results.made:
        folder.write_text(options.subtomo_star, _table(options, folder.path, results))
    folder.write_text(REPORT_NAME, as_html(_report(job, results, remarks)))
    end_list(context, results)
    return folder.finish(
        metrics={
            "tomograms": len(results.made),
            "subtomograms": sum(len(made.files) for _, made in results.made),
            "crop": options.crop,
        },
        options=options.model_copy(update={"crop_size": options.crop}).model_dump(mode="json"),
        statements=results.remarks,
        seeds={"places": options.seed},
    )


def _tasks(job: TomoExtractJob, context: Context, chosen: Sequence[Tomogram]) -> tuple[list[RowTask], list[str]]:
    """What is to be done, every header looked at before anything takes time."""
    options, tasks = job.options, []
    remarks: list[str] = []
    for tomogram in chosen:
        paths = volume_paths(tomogram, deconvolved=options.use_deconv_tomo)
        with TomogramVolume(tomogram, paths) as volume, opened_mask(tomogram, volume.shape):
            remarks += volume.remarks
            if volume.pixel_size_A is None:
                raise InputInvalid(
                    f"{tomogram.source}: row {tomogram.row + 1}: neither 'rlnPixelSize' nor the header of "
                    f"{volume.path} tells the voxel size; write it, in Angstrom, into the table"
                )
        count = options.number_subtomos or tomogram.number_subtomos or _USUAL_NUMBER
        for number in range(count):
            refuse_to_replace(context, _name(tomogram, number), paths)
        places = tomogram.box_file if options.use_box_file else None
        others = [path for path in (tomogram.mask, places) if path is not None]
        made_from = {
            "files": state_of([*paths, *others]),
            "sizes": [options.cube_size, options.crop, count, options.pad, options.seed],
        }
        tasks.append(RowTask(tomogram, made_from, _steps(context, options, tomogram, count)))
    return tasks, remarks


def _steps(context: Context, options: ExtractOptions, tomogram: Tomogram, count: int) -> Callable[[], RowSteps]:
    return lambda: _cut(context, options, tomogram, count)


def _name(tomogram: Tomogram, number: int) -> str:
    return f"{tomogram.name}_{number + 1:06d}.mrc"


def _cut(context: Context, options: ExtractOptions, tomogram: Tomogram, count: int) -> RowSteps:
    crop, names = options.crop, []
    with TomogramVolume(tomogram, volume_paths(tomogram, deconvolved=options.use_deconv_tomo)) as volume:
        yield Progress("looking for places", 0.0)
        if options.use_box_file and tomogram.box_file is not None:
            centres, remarks = given_places(tomogram.box_file, volume, crop, pad=options.pad)
        else:
            # Tomograms of one size and mask are not to be cut at the same places.
            seed = options.seed + 1_000_003 * tomogram.row
            centres, remarks = drawn_places(tomogram, volume, crop, count, seed, pad=options.pad)
        voxel_A, lies = volume.header.voxel_size_A, volume.header.position
        for number, corner in enumerate((centres - crop // 2).tolist()):
            z, y, x = ((start, start + crop) for start in corner)
            part = torch.from_numpy(volume.mirrored((z, y, x)))
            position = MapPosition(
                start=(lies.start[0] + corner[0], lies.start[1] + corner[1], lies.start[2] + corner[2]),
                origin_A=(
                    lies.origin_A[0] + corner[0] * voxel_A[0],
                    lies.origin_A[1] + corner[1] * voxel_A[1],
                    lies.origin_A[2] + corner[2] * voxel_A[2],
                ),
            )
            names.append(_name(tomogram, number))
            context.folder.write_map(names[-1], part, volume.pixel_size_A or voxel_A[2], position)
            if number % _SAID_EVERY == 0:
                yield Progress(f"subtomogram {number + 1} of {len(centres)}", number / len(centres))
        numbers = {"centres": centres.tolist(), "pixel_size_A": volume.pixel_size_A}
    return MadeTomogram(files=names, values={}, paths={}, numbers=numbers, remarks=remarks)


def _table(options: ExtractOptions, folder: Path, results: RowResults) -> str:
    """The table of all subtomograms, with where each comes from and what was measured of its tomogram."""
    rows = [
        (tomogram, made.numbers["pixel_size_A"], folder / name, centre)
        for tomogram, made in results.made
        for name, centre in zip(made.files, made.numbers["centres"], strict=True)
    ]
    more: dict[str, list[object]] = {
        "rlnTomoName": [tomogram.name for tomogram, _, _, _ in rows],
        "rlnCoordinateX": [centre[2] for _, _, _, centre in rows],
        "rlnCoordinateY": [centre[1] for _, _, _, centre in rows],
        "rlnCoordinateZ": [centre[0] for _, _, _, centre in rows],
    }
    tilts = {"rlnTiltMin": "tilt_min_deg", "rlnTiltMax": "tilt_max_deg"}
    for label, attribute in tilts.items():
        values = [getattr(tomogram, attribute) for tomogram, _, _, _ in rows]
        if any(value is not None for value in values):
            more[label] = ["None" if value is None else f"{value:g}" for value in values]
    return subtomo_star(
        [path for _, _, path, _ in rows],
        folder / options.subtomo_star,
        cube_size=options.cube_size,
        crop_size=options.crop,
        pixel_size_A=[size_A for _, size_A, _, _ in rows],
        more=more,
    )


def _report(job: TomoExtractJob, results: RowResults, remarks: Sequence[str]) -> Report:
    options = job.options
    pages: list[Figure] = []
    facts: dict[str, str] = {
        "table": str(job.inputs.star),
        "cube and crop": f"{options.cube_size} and {options.crop} voxels",
    }
    for tomogram, made in results.made:
        masked = "inside its mask" if tomogram.mask is not None else "without a mask"
        facts[tomogram.name] = f"{counted(len(made.files), 'subtomogram', 'subtomograms')}, {masked}"
        if len(pages) < SHOWN:
            paths = volume_paths(tomogram, deconvolved=options.use_deconv_tomo)
            with TomogramVolume(tomogram, paths) as volume:
                sections = volume.middle_sections()
            centres = torch.tensor(made.numbers["centres"])
            reading = "Centres of all subtomograms, also of those before and behind the section."
            size_A = made.numbers["pixel_size_A"]
            pages.append(marked(tomogram.name, sections, centres, size_A, reading, is_tile=not pages))
    count = sum(len(made.files) for _, made in results.made)
    text = (
        f"{counted(count, 'subtomogram', 'subtomograms')} of {options.crop} voxels a side were cut out at random "
        f"places inside the masks of their tomograms ({literature.ISONET.short})."
    )
    paragraphs, references = methods.write([methods.Passage(text, (literature.ISONET,))])
    return Report(
        title="Subtomograms",
        summary=f"{counted(count, 'subtomogram', 'subtomograms')} out of "
        f"{counted(len(results.made), 'tomogram', 'tomograms')}; {len(results.failed)} failed.",
        facts=facts,
        figures=pages,
        statements=["Subtomograms are as their tomograms are, not inverted and not filtered."],
        methods=paragraphs,
        warnings=[*remarks, *results.remarks, *(f"{tomogram.name}: {why}" for tomogram, why in results.failed)],
        references=references,
    )
