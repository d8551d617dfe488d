"""Networks that were trained straight from tomograms: what was measured stays, what was not is filled, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryobridge.core.tomogram import WIDTH, Wedge
from cryobridge.core.training import Learned
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.predict import TomoPredictJob
from cryobridge.schemas.kinds.tomo.refine import TomoRefineOptions
from cryobridge.schemas.wedge import WedgeOptions
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from ....memory import peak_bytes
from ....report import figures, methods
from ....report.page import Figure, Report, as_html
from ....tomograms import literature
from ....tomograms.ghost_words import ghost_warnings, sectors_told
from ....tomograms.halves import wedge_of
from ....tomograms.made_notes import MadeTomogram, state_of
from ....tomograms.row_reading import RowReading
from ....tomograms.row_steps import RowResults, RowSteps, RowTask, refuse_to_replace, row_by_row, tell_tables
from ....tomograms.shown_tomograms import SHOWN, before_and_after, counted, middle_sections
from ....tomograms.wedge_correction import corrected_tomogram
from ....tomograms.wedge_evidence import gathered
from ....tomograms.wedge_network import StoredWedgeNetwork, read_wedge_network
from .tiles import STATEMENT

_MEASURED = 0.1
_LEAST_SIDE = 8
_ALIKE = 0.1
_GOOD, _POOR = 0.5, 0.3
"""Held-out correlation, mean over shells, as on the page of `tomo.correct`."""
_OF_TILES = ("cube_size", "crop_size", "overlap", "batch_size", "normalize_percentile", "output_scale", "precision")


@dataclass(frozen=True)
class _Answering:
    """The network on its device, how its tomograms were read, and by how much they were reduced."""

    learned: Learned
    learning: WedgeOptions
    reading: RowReading
    factor: int | None
    pixel_size_A: float | None


def predicted_straight(job: TomoPredictJob, context: Context) -> JobSteps:
    """Write a corrected tomogram for each, the table, and the report."""
    folder, options = context.folder, job.options
    stored = read_wedge_network(job.inputs.model)
    answering = _answering(stored, job, context)
    table = read_tomogram_table(job.inputs.star)
    tasks, remarks = _tasks(job, context, answering, table.chosen(options.tomo_idx))
    if given := sorted(options.model_fields_set & set(_OF_TILES)):
        context.say(f"{', '.join(given)} had no effect: they are for networks that are trained as IsoNet trains")
    folder.mark("read")
    yield Progress(f"{counted(len(tasks), 'tomogram', 'tomograms')} to correct", 0.0)
    yield from context.remarked(remarks)
    with context.parking.holding(answering.learned.held):
        results = yield from row_by_row(context, tasks)
    folder.mark("correct")
    folder.write_text(REPORT_NAME, as_html(_report(job, folder.path, answering, results, remarks)))
    tell_tables(context, table, results, update_star=options.update_star)
    host, device = peak_bytes(context.device)
    scores = [made.numbers["held_out"] for _, made in results.made if made.numbers["held_out"] is not None]
    return folder.finish(
        metrics={
            "tomograms": len(results.made),
            "held_out": min(scores, default=None),
            "ghost_wedges": sum(made.numbers["ghost"] is not None for _, made in results.made),
            "peak_memory_GB": round(host / 1e9, 2),
            "peak_gpu_memory_GB": None if device is None else round(device / 1e9, 2),
        },
        options=options.model_dump(mode="json"),
        statements=[STATEMENT, *results.remarks, *_warnings(results)],
    )


def _answering(stored: StoredWedgeNetwork, job: TomoPredictJob, context: Context) -> _Answering:
    path, is_flipped = job.inputs.model, job.options.is_ctf_flipped
    learning = WedgeOptions(base_width=stored.base_width)
    learned, settings = stored.learned(learning, context.device), stored.settings
    trained = settings.get("options")
    reading = RowReading("halves")
    if isinstance(trained, dict):
        reading = RowReading.of_training(TomoRefineOptions.continued(trained, TomoRefineOptions(), str(path)))
    if is_flipped is not None:
        reading = replace(reading, is_ctf_flipped=is_flipped)
    factor, size_A = settings.get("reduced_by"), settings.get("pixel_size_A")
    if factor is not None and not (isinstance(factor, int) and 1 <= factor <= 16):
        raise InputInvalid(
            f"{path}: was trained on tomograms reduced by {factor!r}, which cannot be; give another file"
        )
    size_A = float(size_A) if isinstance(size_A, int | float) and size_A > 0 else None
    return _Answering(learned, learning, reading, factor, size_A)


def _tasks(
    job: TomoPredictJob, context: Context, answering: _Answering, chosen: Sequence[Tomogram]
) -> tuple[list[RowTask], list[str]]:
    """What is to be done, every header looked at before anything takes time."""
    tasks: list[RowTask] = []
    remarks: list[str] = []
    for tomogram in chosen:
        wedge = wedge_of(tomogram, None, None)
        reading = answering.reading.for_prediction(tomogram, use_deconv_tomo=job.options.use_deconv_tomo)
        paths = reading.paths(tomogram)
        refuse_to_replace(context, job.options.name_of_result(tomogram.name), paths)
        with reading.opened(tomogram, wedge) as halves:
            remarks += halves.even.remarks
            remarks += _other_voxels(tomogram, halves.even.pixel_size_A, answering.pixel_size_A)
            optics = None if halves.contrast is None else asdict(halves.contrast.transfer.optics)
        made_from = {
            "options": job.options.model_dump(mode="json"),
            "model": context.hash_of(job.inputs.model),
            "files": state_of(paths),
            "sectors_deg": wedge.sectors_deg,
            "optics": optics,
        }
        tasks.append(RowTask(tomogram, made_from, _Steps(job, context, answering, reading, tomogram, wedge)))
    return tasks, remarks


@dataclass(frozen=True)
class _Steps:
    """Measures one tomogram, corrects it and writes it."""

    job: TomoPredictJob
    context: Context
    answering: _Answering
    reading: RowReading
    tomogram: Tomogram
    wedge: Wedge

    def __call__(self) -> RowSteps:
        answering, opened = self.answering, self.reading.opened
        known = yield from scaled(
            0.0,
            _MEASURED,
            gathered(
                [(self.tomogram, self.wedge)],
                self.context.device,
                _LEAST_SIDE,
                within_mask=False,
                opened=opened,
                factor=answering.factor,
            ),
        )
        steps = corrected_tomogram(
            known.tomograms[0],
            answering.learned,
            answering.learning,
            self.job.options.output_type,
            self.context,
            opened,
            self.job.options.output_prefix,
        )
        made: MadeTomogram = yield from scaled(_MEASURED, 1.0, steps)
        return made


def _other_voxels(tomogram: Tomogram, size_A: float | None, trained_A: float | None) -> list[str]:
    if size_A is None or trained_A is None or abs(size_A / trained_A - 1) <= _ALIKE:
        return []
    return [
        f"{tomogram.name}: has voxels of {size_A:.4g} A, and the network was trained on {trained_A:.4g} A; resize it "
        "(tomo resize), or train on it."
    ]


def _warnings(results: RowResults) -> list[str]:
    lines: list[str] = []
    for tomogram, made in results.made:
        score = made.numbers["held_out"]
        if score is not None and score < _POOR:
            lines.append(
                f"{tomogram.name}: in held-out sectors the correlation with what was measured is {score:.2f} of 1; do "
                "not believe what was filled in."
            )
        lines += [f"{line}." for line in ghost_warnings(tomogram.name, made.numbers)]
    return lines


def _report(
    job: TomoPredictJob, folder: Path, answering: _Answering, results: RowResults, remarks: Sequence[str]
) -> Report:
    pages: list[Figure] = []
    for tomogram, made in results.made[:SHOWN]:
        pages += _of_tomogram(job, folder, answering, tomogram, made, is_tile=not pages)
    text = (
        "The missing wedge of tomograms was filled by a U-Net that had learned to fill a second, artificial wedge (the "
        f"principle of {literature.ISONET.short} and {literature.DEEPDEWEDGE.short}). Where something was measured the "
        "data decide: of what the network took away, that was put back which both halves have in common."
    )
    paragraphs, references = methods.write([methods.Passage(text, (literature.ISONET, literature.DEEPDEWEDGE))])
    return Report(
        title="Correction of the missing wedge",
        summary=f"{counted(len(results.made), 'tomogram was', 'tomograms were')} corrected, "
        f"{len(results.failed)} failed.",
        facts={
            "table": str(job.inputs.star),
            "network": f"{job.inputs.model} ({answering.learning.base_width} channels)",
            "CTF": answering.reading.ctf_mode,
            "sharpened by": f"{answering.reading.bfactor_A2:g} A^2",
            **{tomogram.name: _words_of(made.numbers) for tomogram, made in results.made[:20]},
        },
        figures=pages,
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=[
            *remarks,
            *results.remarks,
            *_warnings(results),
            *(f"{tomogram.name}: {why}" for tomogram, why in results.failed),
        ],
        references=references,
    )


def _of_tomogram(
    job: TomoPredictJob,
    folder: Path,
    answering: _Answering,
    tomogram: Tomogram,
    made: MadeTomogram,
    *,
    is_tile: bool,
) -> list[Figure]:
    numbers = made.numbers
    reading = answering.reading.for_prediction(tomogram, use_deconv_tomo=job.options.use_deconv_tomo)
    with reading.opened(tomogram, wedge_of(tomogram, None, None)) as halves:
        both = halves.even.middle_sections(), halves.odd.middle_sections()
        z, y, x = (np.float32(0.5) * (a + b) for a, b in zip(*both, strict=True))
    size_A = numbers["pixel_size_A"] or 1.0
    step = WIDTH / (numbers["factor"] * size_A)
    curves = {
        "held-out sectors, against the truth": numbers["held_out_curve"],
        "amplitude filled, of the measured part's": [min(1.5, value) for value in numbers["filled"]],
    }
    return [
        before_and_after(
            tomogram.name,
            {"before": (z, y, x), "corrected": middle_sections(folder / made.files[0])},
            size_A,
            "Where the wedge was filled, objects end as sharply along the beam (z) as across it.",
            is_tile=is_tile,
        ),
        Figure(
            f"{tomogram.name}: how good it is",
            figures.shell_curves(
                curves,
                [(shell + 0.5) * step for shell in range(len(numbers["filled"]))],
                "correlation, or ratio",
                (_POOR, _GOOD),
            ),
            "An end of the tilt range was not shown to the network, and what it puts there is compared with what was "
            "measured.",
        ),
    ]


def _words_of(numbers: Mapping[str, Any]) -> str:
    sectors = ", ".join(f"{low:g} to {high:g}" for low, high in numbers["sectors_deg"])
    held = "cannot be told" if numbers["held_out"] is None else f"{numbers['held_out']:.2f}"
    read = "both halves" if numbers["paired"] else "one map"
    return (
        f"tilts {sectors} degrees, {read}, held-out wedge {held}, filled {numbers['fill']:.2f}, {sectors_told(numbers)}"
    )
