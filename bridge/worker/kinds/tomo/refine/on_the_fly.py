"""The methods that learn straight from tomograms, cubes cut and turned as they are needed: isonet2, n2n, n2n-mw."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from cryobridge.core.tomogram import TomogramBlock, Wedge
from cryobridge.core.training import check_divides
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.refine import NETWORK_NAME, STATE_NAME, Method, TomoRefineJob, TomoRefineOptions
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from ....memory import peak_bytes
from ....report.page import as_html
from ....tomograms.halves import wedge_of
from ....tomograms.kept_out_cubes import kept_out_or_not
from ....tomograms.live_preview import LivePreview
from ....tomograms.made_notes import state_of
from ....tomograms.row_reading import RowReading
from ....tomograms.wedge_evidence import TomogramEvidence, gathered
from ....tomograms.wedge_network import StoredWedgeNetwork, network_bytes
from ....tomograms.wedge_trials import WedgeTrials
from .state_file import state_as_text
from .wedge_page import WedgeFindings, held_out_table, loss_table_of_steps, preview, wedge_page
from .wedge_plan import SMALLEST_CUBE, filled_in, reduced_cube, wedge_options
from .wedge_start import WedgeStart, started_from_tomograms, steps_left, wedge_state

_MEASURED, _TRAINED = 0.1, 0.98


def refined_on_the_fly(job: TomoRefineJob, context: Context, method: Method) -> JobSteps:
    """Measure the tomograms, train, judge by a held-out wedge, write."""
    start = started_from_tomograms(job)
    width = None if start.network is None else start.network.base_width
    options = filled_in(start.options, method, context.device.type, width)
    left = steps_left(start, options, job.inputs.continue_from)
    _check_batch(options, context)
    reading = RowReading.of_training(options)
    chosen = read_tomogram_table(job.inputs.subtomos).chosen(options.tomo_idx)
    rows = [(one, wedge_of(one, options.tilt_min_deg, options.tilt_max_deg)) for one in chosen]
    pixel_size_A, remarks = _looked_at(rows, reading, method)
    for line in (*start.lines, *_left_out(options)):
        context.say(line)
    yield from context.remarked(remarks)
    context.folder.mark("read")
    if context.leads:
        context.folder.open()
    evidence, blocks, side = yield from scaled(0.0, _MEASURED, _gathered(rows, options, reading, context))
    context.folder.mark("measure")
    learning, without_room = kept_out_or_not(wedge_options(options, left, side, options.seed + start.done), blocks)
    yield from context.remarked(without_room)
    remarks += without_room
    used = {
        **options.model_dump(mode="json"),
        "learning": learning.model_dump(mode="json"),
        "files": [state_of(reading.paths(one)) for one in chosen],
    }
    trials = WedgeTrials(
        blocks=blocks,
        evidence=evidence[0].evidence,
        start=start.network,
        options=learning,
        device=context.device,
        checkpoints=context.checkpoints(used),
        every_s=options.checkpoint_every_s,
        say=context.say,
        parking=context.parking,
        ranks=context.ranks,
        hows=("anew" if start.network is None else "alone",),
        preview=LivePreview(context, options.preview_every_s, _reduced_voxel_A(pixel_size_A, evidence)),
    )
    (trial,) = yield from scaled(_MEASURED, _TRAINED, trials.results())
    if not context.leads:
        return {}
    context.folder.mark("train")
    yield Progress("writing the network", _TRAINED)
    shown = preview(StoredWedgeNetwork(learning.base_width, trial.weights), learning, blocks[0], evidence[0].evidence)
    found = WedgeFindings(
        job, options, learning, evidence, trial, (*start.losses, *trial.losses), shown, pixel_size_A, remarks
    )
    result = _written(context, found, start)
    trials.clear()
    return result


def _gathered(
    rows: Sequence[tuple[Tomogram, Wedge]], options: TomoRefineOptions, reading: RowReading, context: Context
) -> Generator[Progress, None, tuple[list[TomogramEvidence], list[TomogramBlock], int]]:
    """What tomograms tell, blocks to learn from, and the side of cubes in reduced voxels."""
    least = SMALLEST_CUBE if options.cube_size is not None else reduced_cube(options, 1)
    known = yield from gathered(rows, context.device, least, within_mask=options.within_mask, opened=reading.opened)
    found = known.tomograms
    side = reduced_cube(options, found[0].evidence.factor)
    large = [block for block in known.blocks if min(block.shape) - 2 * block.margin >= side]
    if not large:
        raise InputInvalid(
            f"{rows[0][0].source}: no tomogram holds a cube of {options.cube_size} voxels inside its margins; choose a "
            "smaller 'cube_size'"
        )
    return found, large, side


def _reduced_voxel_A(pixel_size_A: float | None, evidence: Sequence[TomogramEvidence]) -> float | None:
    return None if pixel_size_A is None else pixel_size_A * evidence[0].evidence.factor


def _check_batch(options: TomoRefineOptions, context: Context) -> None:
    try:
        check_divides(options.batch_size or 1, context.ranks)
    except ValueError as error:
        raise InputInvalid(f"batch_size: {error}") from error


def _looked_at(
    rows: Sequence[tuple[Tomogram, Wedge]], reading: RowReading, method: Method
) -> tuple[float | None, list[str]]:
    """See that every row can be used before anything takes time.

    Returns the voxel size of the first, and what a user should know of them.
    """
    remarks: list[str] = []
    sizes_A: list[float | None] = []
    for tomogram, wedge in rows:
        if method != "isonet2" and (tomogram.half1 is None or tomogram.half2 is None):
            raise InputInvalid(
                f"{tomogram.source}: row {tomogram.row + 1} has no even and odd halves, and {method} learns from one "
                "towards the other; give both (rlnTomoReconstructedTomogramHalf1, -Half2), or choose 'method: isonet2'"
            )
        with reading.opened(tomogram, wedge) as halves:
            remarks += halves.even.remarks
            sizes_A.append(halves.even.pixel_size_A)
    return sizes_A[0], remarks


def _left_out(options: TomoRefineOptions) -> list[str]:
    if options.method == "isonet2" and options.use_deconv_tomo and options.ctf_mode != "none":
        return [f"ctf_mode {options.ctf_mode}: tomograms are read as they are, not deconvolved"]
    return []


def _written(context: Context, found: WedgeFindings, start: WedgeStart) -> dict[str, Any]:
    folder, options, trial = context.folder, found.options, found.trial
    done = start.done + len(trial.losses)
    known = {
        "tomograms": str(found.job.inputs.subtomos),
        "reduced_by": found.evidence[0].evidence.factor,
        "pixel_size_A": found.pixel_size_A,
        "cube_size_reduced": found.learning.cube_size,
        "sectors_deg": [[list(sector) for sector in one.wedge.sectors_deg] for one in found.evidence],
        "held_out": trial.score.score,
        "held_out_amplitude": trial.score.power_ratio,
    }
    folder.write_data(NETWORK_NAME, network_bytes(trial.weights, settings=wedge_state(options, done, known)))
    folder.write_text(STATE_NAME, state_as_text(wedge_state(options, done, known, found.losses)))
    folder.write_text("loss.csv", loss_table_of_steps(found.losses, found.kept_out))
    folder.write_text("held_out.csv", held_out_table(found))
    folder.write_text(REPORT_NAME, as_html(wedge_page(found)))
    host, device = peak_bytes(context.device)
    return folder.finish(
        metrics={
            **found.metrics,
            "steps": done,
            "peak_memory_GB": round(host / 1e9, 2),
            "peak_gpu_memory_GB": None if device is None else round(device / 1e9, 2),
        },
        options=options.model_dump(mode="json"),
        statements=found.warnings,
        seeds={"training": options.seed},
    )
