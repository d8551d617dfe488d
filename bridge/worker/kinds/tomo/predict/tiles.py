"""Networks that were trained as IsoNet trains: a tomogram is shown to them tile by tile, on their own grey scale."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.tomogram import (
    Box,
    GreyScale,
    Tiles,
    ValueCounts,
    deviation_scale,
    percentile_scale,
    published,
    tiled_slabs,
    usual_overlap,
)
from cryobridge.core.training import runner
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.predict import TomoPredictJob, TomoPredictOptions
from cryobridge.schemas.training import TrainingOptions
from cryobridge.wrappers.formats.value_statistics import RunningStatistics
from cryobridge.wrappers.formats.volume_writer import VolumeWriter, stored_type
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, volume_paths

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress
from ....memory import peak_bytes
from ....report import methods
from ....report.page import Figure, Report, as_html
from ....tomograms import literature
from ....tomograms.made_notes import MadeTomogram, state_of
from ....tomograms.network_file import StoredIsoNet, read_network_file
from ....tomograms.row_steps import RowResults, RowSteps, RowTask, refuse_to_replace, row_by_row, tell_tables
from ....tomograms.shown_tomograms import SHOWN, before_and_after, counted, middle_sections
from ....training.ladder import within_memory

_BATCH = 4
_LOOKED_AT = 0.05
_FARTHEST = 64.0
"""Normalised values beyond count as this one, where percentiles of a result are found."""
STATEMENT = (
    "What lies in the missing wedge is the network's guess from what it has seen elsewhere; details that no tilt has "
    "measured are no evidence by themselves."
)


@dataclass(frozen=True)
class _Corrector:
    """The network on its device, and how it is shown a tomogram."""

    network: published.IsoNetUNet
    by_percentile: bool
    options: TomoPredictOptions
    device: torch.device

    def answer(self, windows: Tensor, scale: GreyScale) -> Tensor:
        """What the network makes of windows (b, 1, crop, crop, crop) of a tomogram of that scale, on its own scale."""
        run = runner(self.network, TrainingOptions(precision=self.options.precision), self.device)
        return published.answered(run, scale.apply(windows[:, 0]), self.network.shape.divisor)[:, None]

    def held(self) -> Iterator[Tensor]:
        yield from self.network.parameters()
        yield from self.network.buffers()


def predicted_in_tiles(job: TomoPredictJob, context: Context) -> JobSteps:
    """Write a corrected tomogram for each, the table, and the report."""
    folder, options = context.folder, job.options
    table = read_tomogram_table(job.inputs.star)
    stored = read_network_file(job.inputs.model)
    corrector = _Corrector(
        stored.built(context.device).eval(), _by_percentile(options, stored), options, context.device
    )
    tasks, remarks = _tasks(job, context, corrector, table.chosen(options.tomo_idx))
    folder.mark("read")
    yield Progress(f"{counted(len(tasks), 'tomogram', 'tomograms')} to correct", 0.0)
    yield from context.remarked(remarks)
    with context.parking.holding(corrector.held):
        results = yield from row_by_row(context, tasks)
    folder.mark("correct")
    folder.write_text(REPORT_NAME, as_html(_report(job, folder.path, stored, results, remarks)))
    tell_tables(context, table, results, update_star=options.update_star)
    host, device = peak_bytes(context.device)
    return folder.finish(
        metrics={
            "tomograms": len(results.made),
            "peak_memory_GB": round(host / 1e9, 2),
            "peak_gpu_memory_GB": None if device is None else round(device / 1e9, 2),
        },
        options={**options.model_dump(mode="json"), "normalize_percentile": corrector.by_percentile},
        statements=[STATEMENT, *results.remarks],
    )


def _by_percentile(options: TomoPredictOptions, stored: StoredIsoNet) -> bool:
    """As the user says, else as in the network's training, else as IsoNet does."""
    if "normalize_percentile" in options.model_fields_set:
        return options.normalize_percentile
    trained = stored.settings.get("options")
    told = trained.get("normalize_percentile") if isinstance(trained, dict) else None
    return told if isinstance(told, bool) else options.normalize_percentile


def _tasks(
    job: TomoPredictJob, context: Context, corrector: _Corrector, chosen: Sequence[Tomogram]
) -> tuple[list[RowTask], list[str]]:
    """What is to be done, every header looked at before anything takes time."""
    tasks: list[RowTask] = []
    remarks: list[str] = []
    for tomogram in chosen:
        paths = volume_paths(tomogram, deconvolved=job.options.use_deconv_tomo)
        name = job.options.name_of_result(tomogram.name)
        refuse_to_replace(context, name, paths)
        with TomogramVolume(tomogram, paths) as volume:
            remarks += volume.remarks
            tiles_of(volume.shape, job.options, corrector.network.shape.divisor)
        made_from = {
            "options": job.options.model_dump(mode="json"),
            "model": context.hash_of(job.inputs.model),
            "files": state_of(paths),
        }
        tasks.append(RowTask(tomogram, made_from, partial(_corrected, context, corrector, tomogram, paths, name)))
    return tasks, remarks


def tiles_of(shape: tuple[int, int, int], options: TomoPredictOptions, divisor: int) -> Tiles:
    """The tiles of a tomogram (z, y, x).

    Raises
    ------
    InputInvalid
        If the sizes cannot be put together, or are none of the network's.
    """
    cube, crop = options.cube_size, options.crop_size
    overlap = usual_overlap(cube, crop) if options.overlap is None else options.overlap
    try:
        return Tiles(shape, cube, crop, overlap, divisor)
    except ValueError as error:
        raise InputInvalid(f"cube_size {cube}, crop_size {crop}, overlap {overlap}: {error}") from error


def _corrected(
    context: Context, corrector: _Corrector, tomogram: Tomogram, paths: tuple[Path, ...], name: str
) -> RowSteps:
    with TomogramVolume(tomogram, paths) as volume:
        yield Progress("looking at its values", 0.0)
        scale = yield from _scale(volume, by_percentile=corrector.by_percentile)
        batch = corrector.options.batch_size or (1 if context.device.type == "cpu" else _BATCH)
        batches = [batch // parts for parts in (1, 2, 4, 8, 16, 32) if batch // parts] or [1]
        clipped = yield from within_memory(
            list(dict.fromkeys([*batches, 1])),
            lambda size, _: _written(context, corrector, volume, scale, name, size),
            context.device,
            context.say,
        )
    beyond = f"{tomogram.name}: {clipped} voxels are beyond int8 and were set to its ends."
    return MadeTomogram(
        files=[name],
        values={},
        paths={"rlnCorrectedTomoName": name},
        numbers={"pixel_size_A": volume.pixel_size_A, "files": [str(path) for path in paths]},
        remarks=[beyond] if clipped else [],
    )


def _scale(volume: TomogramVolume, *, by_percentile: bool) -> Generator[None, None, GreyScale]:
    """From the file's values to the network's, which has protein bright."""

    def pieces() -> Iterator[Tensor]:
        step = volume.sections_at_a_time()
        for start in range(0, volume.shape[0], step):
            yield -torch.from_numpy(volume.sections(start, min(start + step, volume.shape[0])))

    try:
        found = yield from (percentile_scale(pieces) if by_percentile else deviation_scale(pieces))
    except ValueError as error:
        raise InputInvalid(f"{volume.path}: {error}; give a tomogram that holds something") from error
    return found.negated()


def _written(
    context: Context, corrector: _Corrector, volume: TomogramVolume, scale: GreyScale, name: str, batch: int
) -> Generator[Progress | None, None, int]:
    """Correct and write; return how many voxels int8 had no room for."""
    options = corrector.options
    tiles = tiles_of(volume.shape, options, corrector.network.shape.divisor)
    kind = stored_type(volume.header.dtype) if options.output_type == "input" else options.output_type
    is_input_scale = options.output_scale == "input"
    spread, counts = RunningStatistics(), ValueCounts(-_FARTHEST, _FARTHEST)

    def read(box: Box) -> Tensor:
        return torch.from_numpy(volume.window(*box))

    def network(windows: Tensor) -> Tensor:
        return corrector.answer(windows, scale)

    done = 0
    with context.folder.writing(name) as descriptor:
        writer = VolumeWriter(descriptor, volume.header, kind, name, scaled_later=not is_input_scale)
        for slab in tiled_slabs(tiles, read, network, batch, context.device):
            if slab is None:
                done = min(tiles.count, done + batch)
                yield Progress(f"tile {done} of {tiles.count}", _LOOKED_AT + (1 - _LOOKED_AT) * done / tiles.count)
                continue
            z, y, x = (part.start for part in slab.box)
            if is_input_scale:
                writer.put(z, y, x, scale.undo(slab.values).numpy())
                continue
            counts.add(slab.values)
            spread.add(slab.values.numpy())
            writer.put(z, y, x, slab.values.numpy())
        if is_input_scale:
            writer.finish()
        else:
            again = _again(counts, spread, by_percentile=corrector.by_percentile)
            writer.finish(-1 / again.one, again.zero / again.one)
    return writer.clipped


def _again(counts: ValueCounts, spread: RunningStatistics, *, by_percentile: bool) -> GreyScale:
    """The scale of a result as IsoNet writes it: normalised once more, then protein dark again."""
    if by_percentile:
        low, high = counts.percentile(4), counts.percentile(96)
        return GreyScale(low, (high - low) or 1.0)
    found = spread.found()
    return GreyScale(found.mean, found.deviation or 1.0)


def _report(
    job: TomoPredictJob, folder: Path, stored: StoredIsoNet, results: RowResults, remarks: Sequence[str]
) -> Report:
    pages: list[Figure] = []
    options = job.options
    for tomogram, made in results.made[:SHOWN]:
        paths = volume_paths(tomogram, deconvolved=options.use_deconv_tomo)
        with TomogramVolume(tomogram, paths) as volume:
            before = volume.middle_sections()
        rows = {"before": before, "corrected": middle_sections(folder / made.files[0])}
        if options.output_scale == "normalized":
            del rows["before"]
        reading = "Where the wedge was filled, objects end as sharply along the beam (z) as across it."
        size_A = made.numbers["pixel_size_A"] or 1.0
        pages.append(before_and_after(tomogram.name, rows, size_A, reading, is_tile=not pages))
    text = (
        "The missing wedge of tomograms was filled by a U-Net trained as IsoNet trains it "
        f"({literature.ISONET.short}), applied to overlapping windows of {options.crop_size} voxels whose inner "
        f"{options.cube_size} were blended with weights that sum to one."
    )
    paragraphs, references = methods.write([methods.Passage(text, (literature.ISONET,))])
    shape = stored.shape
    return Report(
        title="Correction of the missing wedge",
        summary=f"{counted(len(results.made), 'tomogram was', 'tomograms were')} corrected, "
        f"{len(results.failed)} failed.",
        facts={
            "table": str(job.inputs.star),
            "network": f"{job.inputs.model} ({shape.unet_depth} levels, {shape.filter_base} channels)",
            "tiles": f"{options.cube_size} of {options.crop_size} voxels",
        },
        figures=pages,
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=[*remarks, *results.remarks, *(f"{tomogram.name}: {why}" for tomogram, why in results.failed)],
        references=references,
    )
