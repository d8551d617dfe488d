"""`tomo.resize`: tomograms at another voxel size."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from cryobridge.core.tomogram import AxisPlan, axis_plan, resampled_by_plan
from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.schemas.kinds.tomo.resize import ResizeOptions, TomoResizeJob
from cryobridge.wrappers.formats.mrc_header import MapPosition, MrcHeader
from cryobridge.wrappers.formats.scratch_volume import ScratchVolume
from cryobridge.wrappers.formats.volume_writer import VolumeWriter, stored_type
from cryobridge.wrappers.tomograms.table import FULL, HALVES, Tomogram, read_tomogram_table
from cryobridge.wrappers.tomograms.volumes import TomogramVolume

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress, scaled
from ...report import methods
from ...report.page import Figure, Report, as_html
from ...report.quantities import angstrom
from ...tomograms.made_notes import MadeTomogram, state_of
from ...tomograms.row_steps import RowResults, RowSteps, RowTask, refuse_to_replace, row_by_row, tell_tables
from ...tomograms.shown_tomograms import SHOWN, before_and_after, counted, middle_sections

_AT_A_TIME = 8 << 20
"""Voxels that are held at once."""
_SMALLEST = 4
_OF_OLD_VOXELS = (
    "rlnDeconvTomoName",
    "rlnMaskName",
    "rlnMaskBoundary",
    "rlnCorrectedTomoName",
    "rlnDenoisedTomoName",
    "rlnBoxFile",
)
"""Columns of files on the old grid, which are not brought along."""


def run(job: TomoResizeJob, context: Context) -> JobSteps:
    """Write the tomograms, and halves of them, at the new voxel size, a table of them, and the report."""
    folder, options = context.folder, job.options
    table = read_tomogram_table(job.inputs.star)
    tasks, remarks = _tasks(job, context, table.chosen(options.tomo_idx))
    folder.mark("read")
    yield Progress(f"{counted(len(tasks), 'tomogram', 'tomograms')} to resize", 0.0)
    yield from context.remarked(remarks)

    results = yield from row_by_row(context, tasks)
    folder.mark("resize")
    folder.write_text(REPORT_NAME, as_html(_report(job, folder.path, results, remarks)))
    tell_tables(context, table, results, update_star=False, name=f"{job.inputs.star.stem}_resized.star")
    return folder.finish(
        metrics={"tomograms": len(results.made), "voxel_size_A": options.apix}, statements=results.remarks
    )


def _tasks(job: TomoResizeJob, context: Context, chosen: Sequence[Tomogram]) -> tuple[list[RowTask], list[str]]:
    """What is to be done, every header looked at before anything takes time."""
    tasks: list[RowTask] = []
    remarks: list[str] = []
    for tomogram in chosen:
        files = _files(tomogram)
        if halves := tuple(path for label, path in files.items() if label in HALVES):
            TomogramVolume(tomogram, halves).close()  # Refuses two of different sizes.
        for label, path in files.items():
            refuse_to_replace(context, _name(tomogram, label), [path])
            with TomogramVolume(tomogram, (path,)) as volume:
                remarks += volume.remarks
                _plans(job.options, tomogram, volume)
        made_from = {
            "files": state_of(list(files.values())),
            "size": [job.options.apix, job.options.output_type],
        }
        tasks.append(RowTask(tomogram, made_from, _steps(context, job.options, tomogram, files)))
    return tasks, remarks


def _steps(
    context: Context, options: ResizeOptions, tomogram: Tomogram, files: dict[str, Path]
) -> Callable[[], RowSteps]:
    return lambda: _resized_row(context, options, tomogram, files)


def _files(tomogram: Tomogram) -> dict[str, Path]:
    """The whole tomogram and its halves, whichever the row has, by the label that names them."""
    found = {}
    if tomogram.full is not None:
        stem = tomogram.full.name
        label = next((label for label in FULL if tomogram.values.get(label, "").endswith(stem)), FULL[0])
        found[label] = tomogram.full
    halves = zip(HALVES, (tomogram.half1, tomogram.half2), strict=True)
    return {**found, **{label: half for label, half in halves if half is not None}}


def _name(tomogram: Tomogram, label: str) -> str:
    half = f"_half{HALVES.index(label) + 1}" if label in HALVES else ""
    return f"{tomogram.name}{half}_resized.mrc"


def _plans(options: ResizeOptions, tomogram: Tomogram, volume: TomogramVolume) -> tuple[AxisPlan, AxisPlan, AxisPlan]:
    """What becomes of each axis (z, y, x)."""
    if volume.pixel_size_A is None:
        raise InputInvalid(
            f"{tomogram.source}: row {tomogram.row + 1}: neither 'rlnPixelSize' nor the header of {volume.path} tells "
            "the voxel size; write it, in Angstrom, into the table"
        )
    ratio = options.apix / volume.pixel_size_A
    z, y, x = (axis_plan(size, 1.0 if abs(ratio - 1) < 1e-6 else ratio) for size in volume.shape)
    fewest, most = min(z.kept, y.kept, x.kept), max(z.kept, y.kept, x.kept)
    if fewest < _SMALLEST or most > 1 << 15:
        raise InputInvalid(
            f"{volume.path}: from {volume.pixel_size_A:.4g} to {options.apix:g} A it would be {x.kept} x {y.kept} x "
            f"{z.kept} voxels; is 'rlnPixelSize' right, and 'apix' in Angstrom?"
        )
    return z, y, x


def _resized_row(context: Context, options: ResizeOptions, tomogram: Tomogram, files: dict[str, Path]) -> RowSteps:
    names, remarks = {}, []
    sizes_A = (0.0, 0.0)
    for number, (label, path) in enumerate(files.items()):
        names[label] = _name(tomogram, label)
        steps = _resized(context, options, tomogram, path, names[label])
        sizes_A, clipped = yield from scaled(number / len(files), (number + 1) / len(files), steps)
        if clipped:
            remarks.append(f"{names[label]}: {clipped} voxels are beyond int8 and were set to its ends.")
    values = {"rlnPixelSize": f"{sizes_A[1]:.6f}"}
    series_A = tomogram.number("rlnTomoTiltSeriesPixelSize")
    if series_A:
        values["rlnTomoTomogramBinning"] = f"{sizes_A[1] / series_A:.6f}"
    left_out = [label for label in _OF_OLD_VOXELS if tomogram.values.get(label, "None") != "None"]
    if left_out:
        remarks.append(f"{tomogram.name}: {', '.join(left_out)} are of the old voxel size and were left out.")
    return MadeTomogram(
        files=list(names.values()),
        values={**values, **dict.fromkeys(left_out, "None")},
        paths=names,
        numbers={"before_A": sizes_A[0], "after_A": sizes_A[1], "from": str(next(iter(files.values())))},
        remarks=remarks,
    )


def _resized(
    context: Context, options: ResizeOptions, tomogram: Tomogram, path: Path, name: str
) -> Generator[Progress | None, None, tuple[tuple[float, float], int]]:
    """Write one volume: first x and y, section by section, then z, for some rows of all sections at a time."""
    with TomogramVolume(tomogram, (path,)) as volume:
        z, y, x = _plans(options, tomogram, volume)
        kind = stored_type(volume.header.dtype) if options.output_type == "input" else options.output_type
        like = resized_header(volume.header, (z, y, x))
        depth = volume.shape[0]
        step = max(1, _AT_A_TIME // (y.padded * x.padded))
        rows = max(1, _AT_A_TIME // (max(z.padded, z.new) * x.kept))
        with context.folder.writing(name) as descriptor, _scratch(context.folder.path, (depth, y.kept, x.kept)) as held:
            for start in range(0, depth, step):
                stop = min(start + step, depth)
                part = torch.from_numpy(volume.sections(start, stop)).to(context.device)
                part = resampled_by_plan(resampled_by_plan(part, 2, x), 1, y)
                held.put((slice(start, stop), slice(None), slice(None)), part.cpu().numpy())
                yield Progress("along x and y", 0.7 * stop / depth)
            writer = VolumeWriter(descriptor, like, kind, name)
            for start in range(0, y.kept, rows):
                stop = min(start + rows, y.kept)
                part = torch.from_numpy(held.window((slice(None), slice(start, stop), slice(None)))).to(context.device)
                writer.put(0, start, 0, resampled_by_plan(part, 0, z).cpu().numpy())
                yield Progress("along z", 0.7 + 0.3 * stop / y.kept)
            writer.finish()
        before_A = volume.pixel_size_A or 0.0
    return (before_A, before_A * x.ratio), writer.clipped


def _scratch(folder: Path, shape: tuple[int, int, int]) -> ScratchVolume:
    try:
        return ScratchVolume(folder, shape)
    except OSError as error:
        raise CryobridgeError(f"{folder}: has no room for a volume in between: {error.strerror}") from error


def resized_header(header: MrcHeader, plans: tuple[AxisPlan, AxisPlan, AxisPlan]) -> MrcHeader:
    """The header of a volume on its new grid (z, y, x): its first voxel lies where it lay."""
    stored = [0, 0, 0]
    for place, plan in zip(header.transposition, plans, strict=True):
        stored[place] = plan.kept
    sizes = [size_A * plan.ratio for size_A, plan in zip(header.voxel_size_A, plans, strict=True)]
    starts = [round(start / plan.ratio) for start, plan in zip(header.position.start, plans, strict=True)]
    return replace(
        header,
        stored_shape=cast("tuple[int, int, int]", tuple(stored)),
        voxel_size_A=cast("tuple[float, float, float]", tuple(sizes)),
        position=MapPosition(cast("tuple[int, int, int]", tuple(starts)), header.position.origin_A),
    )


def _report(job: TomoResizeJob, folder: Path, results: RowResults, remarks: Sequence[str]) -> Report:
    pages: list[Figure] = []
    facts: dict[str, str] = {"table": str(job.inputs.star)}
    for tomogram, made in results.made:
        before_A, after_A = made.numbers["before_A"], made.numbers["after_A"]
        facts[tomogram.name] = f"{angstrom(before_A)} before, {angstrom(after_A)} now"
        if len(pages) < 2 * SHOWN:
            rows = {"before": middle_sections(Path(made.numbers["from"]))}
            reading = "The same features, in the voxels that were given."
            pages.append(before_and_after(f"{tomogram.name}, before", rows, before_A, reading))
            rows = {"resized": middle_sections(folder / made.files[0])}
            reading = "The same features at the same places; what is finer than two voxels is gone."
            pages.append(before_and_after(tomogram.name, rows, after_A, reading, is_tile=len(pages) == 1))
    text = (
        f"Tomograms were brought to a voxel size of {angstrom(job.options.apix)} by cropping or padding their Fourier "
        "transform along each axis."
    )
    paragraphs, references = methods.write([methods.Passage(text)])
    return Report(
        title="Tomograms at another voxel size",
        summary=f"{counted(len(results.made), 'tomogram has', 'tomograms have')} voxels of "
        f"{angstrom(job.options.apix)} now, {len(results.failed)} failed.",
        facts=facts,
        figures=pages,
        statements=["Smaller voxels hold no more than the larger ones did."],
        methods=paragraphs,
        warnings=[*remarks, *results.remarks, *(f"{tomogram.name}: {why}" for tomogram, why in results.failed)],
        references=references,
    )
