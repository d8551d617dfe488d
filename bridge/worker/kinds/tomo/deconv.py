"""`tomo.deconv`: contrast of tomograms at low resolution, by a Wiener filter with their CTF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from cryobridge.core.tomogram import (
    DeconvolutionFilter,
    VolumeBlock,
    deconvolution_blocks,
    deconvolution_weight,
    filtered_by,
)
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.deconv import LARGEST_BLOCK, OWN_CHUNK, DeconvOptions, TomoDeconvJob
from cryobridge.wrappers.formats.value_statistics import RunningStatistics
from cryobridge.wrappers.formats.volume_writer import VolumeWriter, stored_type
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, volume_paths

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report import methods
from ...report.page import Figure, Report, as_html
from ...report.quantities import angstrom
from ...tomograms import literature
from ...tomograms.made_notes import MadeTomogram, state_of
from ...tomograms.row_steps import RowResults, RowSteps, RowTask, refuse_to_replace, row_by_row, tell_tables
from ...tomograms.shown_tomograms import SHOWN, before_and_after, counted, middle_sections

_LEAST_DEFOCUS_A, _MOST_DEFOCUS_A = 100.0, 3e5
"""Less is a number of micrometres, more is no defocus of a tomogram."""


def run(job: TomoDeconvJob, context: Context) -> JobSteps:
    """Write a deconvolved tomogram for each that has a defocus, the table, and the report."""
    folder, options = context.folder, job.options
    table = read_tomogram_table(job.inputs.star)
    tasks, remarks = _tasks(job, context, table.chosen(options.tomo_idx))
    if options.ncpu is not None:
        remarks.append("'ncpu' has no effect here; 'threads' says how many threads a job has.")
    folder.mark("read")
    yield Progress(f"{counted(len(tasks), 'tomogram', 'tomograms')} to deconvolve", 0.0)
    yield from context.remarked(remarks)

    results = yield from row_by_row(context, tasks)
    folder.mark("deconvolve")
    folder.write_text(REPORT_NAME, as_html(_report(job, folder.path, results, remarks)))
    tell_tables(context, table, results, update_star=options.update_star)
    return folder.finish(metrics={"tomograms": len(results.made)}, statements=results.remarks)


def _tasks(job: TomoDeconvJob, context: Context, chosen: Sequence[Tomogram]) -> tuple[list[RowTask], list[str]]:
    """What is to be done, every header looked at before anything takes time."""
    tasks, remarks = [], []
    for tomogram in chosen:
        if tomogram.defocus_A == 0:
            remarks.append(f"{tomogram.name}: has no defocus (rlnDefocus is 0), so it is left as it is.")
            continue
        paths, name = volume_paths(tomogram), f"{tomogram.name}_deconv.mrc"
        refuse_to_replace(context, name, paths)
        with TomogramVolume(tomogram, paths) as volume:
            remarks += volume.remarks
            parameters = _filter(job.options, tomogram, volume)
        tasks.append(_task(job, context, tomogram, name, paths, parameters))
    if not tasks:
        raise InputInvalid(
            f"{job.inputs.star}: has no defocus for any of the tomograms; write it, in Angstrom, as 'rlnDefocus'"
        )
    return tasks, remarks


def _task(
    job: TomoDeconvJob,
    context: Context,
    tomogram: Tomogram,
    name: str,
    paths: tuple[Path, ...],
    parameters: DeconvolutionFilter,
) -> RowTask:
    options = job.options
    made_from = {
        **asdict(parameters),
        "files": state_of(paths),
        "chunk": [options.chunk_size, options.overlap_rate],
        "type": options.output_type,
    }
    return RowTask(tomogram, made_from, lambda: _deconvolved(context, options, tomogram, name, parameters))


def _filter(options: DeconvOptions, tomogram: Tomogram, volume: TomogramVolume) -> DeconvolutionFilter:
    """Its parameters for one tomogram: of the job, else of the table, else the usual ones."""
    row = f"{tomogram.source}: row {tomogram.row + 1}"
    if volume.pixel_size_A is None:
        raise InputInvalid(
            f"{row}: neither 'rlnPixelSize' nor the header of {volume.path} tells the voxel size; write it, in "
            "Angstrom, into the table"
        )
    if not _LEAST_DEFOCUS_A <= tomogram.defocus_A <= _MOST_DEFOCUS_A:
        raise InputInvalid(
            f"{row}: a defocus of {tomogram.defocus_A:g} cannot be right; write 'rlnDefocus' in Angstrom, underfocus "
            "positive (3.8 µm is 38000), or 0 to leave this tomogram out"
        )

    def first(*values: float | None) -> float:
        return next(value for value in values if value is not None)

    return DeconvolutionFilter(
        pixel_size_A=volume.pixel_size_A,
        defocus_A=tomogram.defocus_A,
        voltage_kV=first(options.voltage_kV, tomogram.voltage_kV, 300.0),
        cs_mm=first(options.cs_mm, tomogram.spherical_aberration_mm, 2.7),
        amplitude_contrast=first(options.amplitude_contrast, tomogram.amplitude_contrast, 0.07),
        phase_shift_deg=first(options.phase_shift_deg, tomogram.phase_shift_deg, 0.0),
        snr_falloff=first(options.snrfalloff, tomogram.number("rlnSnrFalloff"), 1.0),
        strength=first(options.deconvstrength, tomogram.number("rlnDeconvStrength"), 1.0),
        highpass_nyquist=options.highpassnyquist,
        phase_flipped=options.phaseflipped,
    )


def _deconvolved(
    context: Context, options: DeconvOptions, tomogram: Tomogram, name: str, parameters: DeconvolutionFilter
) -> RowSteps:
    """Filter block by block; the scale, one for all blocks, is put on in the end."""
    with TomogramVolume(tomogram, volume_paths(tomogram)) as volume:
        yield Progress("looking at its values", 0.0)
        before = volume.statistics()
        if before.deviation == 0:
            raise InputInvalid(f"{volume.path}: all voxels have the value {before.mean:g}; give a tomogram")
        kind = stored_type(volume.header.dtype) if options.output_type == "input" else options.output_type
        parts = blocks_of(volume.shape, options)
        weight, after = None, RunningStatistics()
        with context.folder.writing(name) as descriptor:
            writer = VolumeWriter(descriptor, volume.header, kind, name, scaled_later=True)
            for number, block in enumerate(parts):
                read = torch.from_numpy(volume.mirrored(block.read)).to(context.device)
                if weight is None:
                    sides = (read.shape[0], read.shape[1], read.shape[2])
                    weight = deconvolution_weight(sides, parameters, context.device)
                kept = filtered_by(read, weight)[block.inside].cpu().numpy()
                after.add(kept)
                writer.put(block.kept[0][0], block.kept[1][0], block.kept[2][0], kept)
                yield Progress(f"part {number + 1} of {len(parts)}", 0.9 * (number + 1) / len(parts))
            found = after.found()
            gain = before.deviation / max(found.deviation, 1e-30)
            writer.finish(gain, before.mean - gain * found.mean)
    clipped = f"{tomogram.name}: {writer.clipped} voxels are beyond int8 and were set to its ends."
    return MadeTomogram(
        files=[name],
        values={"rlnSnrFalloff": f"{parameters.snr_falloff:.6f}", "rlnDeconvStrength": f"{parameters.strength:.6f}"},
        paths={"rlnDeconvTomoName": name},
        numbers={"gain": gain, "parts": len(parts), **asdict(parameters)},
        remarks=[clipped] if writer.clipped else [],
    )


def blocks_of(shape: tuple[int, int, int], options: DeconvOptions) -> list[VolumeBlock]:
    """The blocks of a tomogram (z, y, x): as asked for, else all at once where that is no more than a large chunk."""
    if options.chunk_size is not None:
        return deconvolution_blocks(shape, options.chunk_size, options.overlap_rate)
    whole = deconvolution_blocks(shape)
    if math.prod(stop - start for start, stop in whole[0].read) <= LARGEST_BLOCK**3:
        return whole
    return deconvolution_blocks(shape, OWN_CHUNK, options.overlap_rate)


def _report(job: TomoDeconvJob, folder: Path, results: RowResults, remarks: Sequence[str]) -> Report:
    pages: list[Figure] = []
    facts: dict[str, str] = {"table": str(job.inputs.star)}
    for tomogram, made in results.made:
        numbers = made.numbers
        facts[tomogram.name] = (
            f"defocus {numbers['defocus_A'] / 1e4:.2f} µm, {angstrom(numbers['pixel_size_A'])} voxels, "
            f"snrfalloff {numbers['snr_falloff']:g}, deconvstrength {numbers['strength']:g}"
        )
        if len(pages) < SHOWN:
            with TomogramVolume(tomogram, volume_paths(tomogram)) as volume:
                before = volume.middle_sections()
            rows = {"before": before, "deconvolved": middle_sections(folder / made.files[0])}
            reading = "Large features stand out more; dark rims about dense objects mean too much strength."
            pages.append(before_and_after(tomogram.name, rows, numbers["pixel_size_A"], reading, is_tile=not pages))
    text = (
        "Tomograms were deconvolved by a Wiener filter with their CTF and a model of the signal-to-noise ratio that "
        f"falls exponentially with frequency ({literature.WARP.short})."
    )
    paragraphs, references = methods.write([methods.Passage(text, (literature.WARP,))])
    return Report(
        title="Deconvolution of tomograms",
        summary=f"{counted(len(results.made), 'tomogram was', 'tomograms were')} deconvolved, "
        f"{len(results.failed)} failed.",
        facts=facts,
        figures=pages,
        statements=[
            "A deconvolved tomogram is for looking at, for masks and for training; no resolution is to be measured on "
            "it."
        ],
        methods=paragraphs,
        warnings=[*remarks, *results.remarks, *(f"{tomogram.name}: {why}" for tomogram, why in results.failed)],
        references=references,
    )
