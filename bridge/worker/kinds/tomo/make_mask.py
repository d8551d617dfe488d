"""`tomo.make_mask`: masks of where in tomograms there is something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cryobridge.core.tomogram import outline_in_bins, outline_plane
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.make_mask import MakeMaskOptions, TomoMakeMaskJob
from cryobridge.wrappers.tomograms.point_list import read_points
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, volume_paths

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report import methods
from ...report.page import Figure, Report, as_html
from ...tomograms import literature
from ...tomograms.made_notes import MadeTomogram, state_of
from ...tomograms.mask_blocks import MaskBlocks, MaskChoice
from ...tomograms.row_steps import RowResults, RowSteps, RowTask, refuse_to_replace, row_by_row, tell_tables
from ...tomograms.shown_tomograms import SHOWN, counted, middle_sections, outlined

_USUAL_PERCENTAGE = 50.0


def run(job: TomoMakeMaskJob, context: Context) -> JobSteps:
    """Write a mask for each tomogram, the table, and the report."""
    folder, options = context.folder, job.options
    table = read_tomogram_table(job.inputs.star)
    tasks, remarks = _tasks(job, context, table.chosen(options.tomo_idx))
    folder.mark("read")
    yield Progress(f"{counted(len(tasks), 'mask', 'masks')} to make", 0.0)
    yield from context.remarked(remarks)

    results = yield from row_by_row(context, tasks)
    folder.mark("mask")
    folder.write_text(REPORT_NAME, as_html(_report(job, folder.path, results, remarks)))
    tell_tables(context, table, results, update_star=options.update_star)
    inside = [made.numbers["inside"] for _, made in results.made]
    return folder.finish(
        metrics={"tomograms": len(inside), "inside": round(sum(inside) / len(inside), 4)}, statements=results.remarks
    )


def _tasks(job: TomoMakeMaskJob, context: Context, chosen: Sequence[Tomogram]) -> tuple[list[RowTask], list[str]]:
    """What is to be done, every header and outline looked at before anything takes time."""
    options, tasks, remarks = job.options, [], []
    for tomogram in chosen:
        paths = volume_paths(tomogram, deconvolved=options.use_deconv_tomo)
        refuse_to_replace(context, f"{tomogram.name}_mask.mrc", paths)
        if options.use_deconv_tomo and tomogram.deconv is None:
            remarks.append(f"{tomogram.name}: is not deconvolved, so its mask is made from the tomogram as it is.")
        boundary = tomogram.mask_boundary or job.inputs.mask_boundary
        with TomogramVolume(tomogram, paths) as volume:
            choice = _choice(options, tomogram, volume, boundary)
        made_from = {
            "files": state_of([*paths, *([boundary] if boundary is not None else [])]),
            "percentages": [choice.density_percentage, choice.std_percentage],
            "patch": [options.patch_size, options.z_crop],
        }
        tasks.append(RowTask(tomogram, made_from, _steps(context, tomogram, paths, choice)))
    return tasks, remarks


def _steps(context: Context, tomogram: Tomogram, paths: tuple[Path, ...], choice: MaskChoice) -> Callable[[], RowSteps]:
    return lambda: _masked(context, tomogram, paths, choice)


def _choice(options: MakeMaskOptions, tomogram: Tomogram, volume: TomogramVolume, boundary: Path | None) -> MaskChoice:
    """What decides the mask of one tomogram: the job's, else the table's, else the usual."""

    def percentage(given: float | None, label: str) -> float:
        value = given if given is not None else tomogram.number(label)
        if value is None:
            return _USUAL_PERCENTAGE
        if not 0 <= value <= 100:
            raise InputInvalid(
                f"{tomogram.source}: row {tomogram.row + 1} has {value:g} as '{label}', which is no percentage; give 0 "
                "to 100"
            )
        return value

    choice = MaskChoice(
        patch=options.patch_size,
        density_percentage=percentage(options.density_percentage, "rlnMaskDensityPercentage"),
        std_percentage=percentage(options.std_percentage, "rlnMaskStdPercentage"),
        z_crop=options.z_crop or 0.0,
    )
    return choice if boundary is None else _outlined(choice, boundary, volume)


def _outlined(choice: MaskChoice, boundary: Path, volume: TomogramVolume) -> MaskChoice:
    points, z_range = outline_in_bins(read_points(boundary).tolist())
    if len(points) == 0 and z_range is not None:
        return replace(choice, z_range=z_range)
    if len(points) < 3:
        raise InputInvalid(
            f"{boundary}: has {counted(len(points), 'point', 'points')} of an outline; draw at least 3 around what is "
            "wanted, and 2 more, apart along z, for the range of sections"
        )
    outline = outline_plane(points, (volume.shape[1] // 2, volume.shape[2] // 2))
    return replace(choice, outline=outline, z_range=z_range)


def _masked(context: Context, tomogram: Tomogram, paths: tuple[Path, ...], choice: MaskChoice) -> RowSteps:
    name = f"{tomogram.name}_mask.mrc"
    with TomogramVolume(tomogram, paths) as volume:
        steps = MaskBlocks(volume, choice, context.device)
        with context.folder.writing(name) as descriptor:
            inside = yield from steps.write(descriptor, name)
        pixel_size_A = volume.pixel_size_A
    values = {
        "rlnMaskDensityPercentage": f"{choice.density_percentage:.6f}",
        "rlnMaskStdPercentage": f"{choice.std_percentage:.6f}",
    }
    numbers = {
        "inside": inside,
        "density_percentage": choice.density_percentage,
        "std_percentage": choice.std_percentage,
        "outlined": choice.outline is not None or choice.z_range is not None,
        "pixel_size_A": pixel_size_A or 1.0,
        "paths": [str(path) for path in paths],
    }
    return MadeTomogram(files=[name], values=values, paths={"rlnMaskName": name}, numbers=numbers)


def _report(job: TomoMakeMaskJob, folder: Path, results: RowResults, remarks: Sequence[str]) -> Report:
    pages: list[Figure] = []
    facts: dict[str, str] = {"table": str(job.inputs.star), "patch size": f"{job.options.patch_size} binned voxels"}
    for tomogram, made in results.made:
        numbers = made.numbers
        facts[tomogram.name] = (
            f"{100 * numbers['inside']:.1f} % inside; density_percentage {numbers['density_percentage']:g}, "
            f"std_percentage {numbers['std_percentage']:g}{', outlined' if numbers['outlined'] else ''}"
        )
        if len(pages) < SHOWN:
            with TomogramVolume(tomogram, tuple(Path(path) for path in numbers["paths"])) as volume:
                sections = volume.middle_sections()
            mask = middle_sections(folder / made.files[0])
            reading = "What is to be learned from lies inside the line; carbon, ice alone and empty ends lie outside."
            pages.append(outlined(tomogram.name, sections, mask, numbers["pixel_size_A"], reading, is_tile=not pages))
    text = (
        "Masks were made from tomograms binned by two and smoothed: where the largest density, and the deviation, in a "
        f"box about a voxel are among the highest of the tomogram ({literature.ISONET.short})."
    )
    paragraphs, references = methods.write([methods.Passage(text, (literature.ISONET,))])
    return Report(
        title="Masks of tomograms",
        summary=f"{counted(len(results.made), 'mask was', 'masks were')} made, {len(results.failed)} failed.",
        facts=facts,
        figures=pages,
        statements=["A mask decides where subtomograms come from; it does not cut the corrected tomogram."],
        methods=paragraphs,
        warnings=[*remarks, *results.remarks, *(f"{tomogram.name}: {why}" for tomogram, why in results.failed)],
        references=references,
    )
