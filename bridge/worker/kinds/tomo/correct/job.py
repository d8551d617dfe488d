"""`tomo.correct`: from a folder or a table of tomograms to corrected ones."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pydantic import ValidationError

from cryobridge.core.tomogram import Wedge
from cryobridge.core.training import Learned
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.correct import CorrectTomogramOptions, TomoCorrectJob
from cryobridge.schemas.kinds.tomo.prepare_star import PrepareStarInputs, PrepareStarOptions
from cryobridge.schemas.tomogram_tables import TABLE_NAME
from cryobridge.schemas.validation import input_invalid
from cryobridge.schemas.wedge import WedgeOptions
from cryobridge.wrappers.tomograms.table import Tomogram, TomogramTable, read_tomogram_table

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from ....memory import peak_bytes
from ....report.page import as_html
from ....tomograms.collecting import collect_table
from ....tomograms.halves import opened_halves, wedge_of
from ....tomograms.kept_out_cubes import kept_out_or_not
from ....tomograms.live_preview import LivePreview
from ....tomograms.made_notes import state_of
from ....tomograms.row_steps import RowTask, refuse_to_replace, row_by_row, tell_tables
from ....tomograms.wedge_check import checked_wedge
from ....tomograms.wedge_correction import corrected_tomogram
from ....tomograms.wedge_evidence import Gathered, TomogramEvidence, gathered
from ....tomograms.wedge_network import OURS, StoredWedgeNetwork, network_bytes, read_wedge_network
from ....tomograms.wedge_trials import WedgeTrial, WedgeTrials
from .page import Corrections, ensemble_lines, held_out_table, page, spreads_of, warnings_of

NETWORK, NETWORK_OF_ENSEMBLE = "network.safetensors", "network_{}.safetensors"
_WAY = 0.5
"""Chosen by bench/tomogram.py: the whole way scores no better in held-out sectors, and loses flat membranes."""
_COLLECTED, _MEASURED, _LEARNED, _CORRECTED = 0.05, 0.15, 0.6, 0.98


def run(job: TomoCorrectJob, context: Context) -> JobSteps:
    """Measure, learn, judge by a held-out wedge, and write corrected tomograms, tables, the network and the report."""
    folder, options = context.folder, job.options
    start = _start(job)
    wedge = _wedge_options(options, context.device.type, start)
    table, is_own = yield from scaled(0.0, _COLLECTED, _table(job, context))
    rows = [(one, wedge_of(one, options.tilt_min_deg, options.tilt_max_deg)) for one in table.chosen(options.tomo_idx)]
    remarks = _looked_at(job, context, rows, is_own=is_own)
    yield from context.remarked(remarks)
    folder.mark("read")
    asked = gathered(rows, context.device, wedge.cube_size, within_mask=options.within_mask)
    known = yield from scaled(_COLLECTED, _MEASURED, asked)
    wedge = wedge.model_copy(update={"cube_size": known.cube_size})
    if known.cube_size < options.cube_size and wedge.steps > 0:
        context.say(f"the tomograms hold no larger cubes than of {known.cube_size} voxels, so it learns from such")
    wedge, without_room = kept_out_or_not(wedge, known.blocks)
    yield from context.remarked(without_room)
    remarks += without_room
    folder.mark("measure")
    trials = _trials(job, context, known, start, wedge)
    tried, members = yield from scaled(_MEASURED, _LEARNED, trials.chosen(options.ensemble))
    used = members[0]
    context.say(f"held-out wedge: {', '.join(map(_told, tried))}; used: {used.how}")
    for line in ensemble_lines(members, options.ensemble):
        context.say(line)
    if not context.leads:
        return {}
    folder.mark("learn")
    networks = [StoredWedgeNetwork(wedge.base_width, one.weights).learned(wedge, context.device) for one in members]
    tasks = [_task(one, used.how, networks, wedge, options, context) for one in known.tomograms]
    with context.parking.holding(lambda: (tensor for one in networks for tensor in one.held())):
        results = yield from scaled(_LEARNED, _CORRECTED, row_by_row(context, tasks))
    folder.mark("correct")
    peaks = peak_bytes(context.device)
    found = Corrections(job, wedge, known.tomograms, tried, members, results, remarks, peaks, folder.seconds)
    _write(found, context)
    tell_tables(context, table, results, update_star=options.update_star and not is_own)
    result = folder.finish(
        metrics=_metrics(found),
        options={**options.model_dump(mode="json"), "learning": wedge.model_dump(mode="json")},
        statements=[*found.statements, *ensemble_lines(members, options.ensemble), *warnings_of(found)],
        seeds=_seeds(wedge.seed, len(members)),
    )
    trials.clear()
    return result


def _trials(
    job: TomoCorrectJob,
    context: Context,
    known: Gathered,
    start: StoredWedgeNetwork | None,
    wedge: WedgeOptions,
) -> WedgeTrials:
    files, options, first = [state_of(_files(one.tomogram)) for one in known.tomograms], job.options, known.tomograms[0]
    with opened_halves(first.tomogram, first.wedge) as halves:
        voxel_size_A = halves.even.pixel_size_A
    shown_A = None if voxel_size_A is None else voxel_size_A * first.evidence.factor
    return WedgeTrials(
        blocks=known.blocks,
        evidence=first.evidence,
        start=start,
        options=wedge,
        device=context.device,
        checkpoints=context.checkpoints({**wedge.model_dump(mode="json"), "files": files}),
        every_s=options.checkpoint_every_s,
        say=context.say,
        parking=context.parking,
        ranks=context.ranks,
        preview=LivePreview(context, options.preview_every_s, shown_A),
        way=_WAY,
    )


def _told(trial: WedgeTrial) -> str:
    return f"{trial.how} {'-' if trial.score.score is None else f'{trial.score.score:.3f}'}"


def _seeds(first: int, count: int) -> dict[str, int]:
    return {"network" if index == 0 else f"network_{index + 1}": first + index for index in range(count)}


def _write(found: Corrections, context: Context) -> None:
    """The networks, the table of curves, and the report."""
    folder = context.folder
    folder.write_data(NETWORK, network_bytes(found.used.weights))
    for number, member in enumerate(found.members[1:], 2):
        folder.write_data(NETWORK_OF_ENSEMBLE.format(number), network_bytes(member.weights))
    folder.write_text("held_out.csv", held_out_table(found.results))
    folder.write_text(REPORT_NAME, as_html(page(found, folder.path)))


def _start(job: TomoCorrectJob) -> StoredWedgeNetwork | None:
    if job.inputs.network is not None:
        return read_wedge_network(job.inputs.network)
    return read_wedge_network(OURS) if job.options.start == "pretrained" else None


def _wedge_options(options: CorrectTomogramOptions, device: str, start: StoredWedgeNetwork | None) -> WedgeOptions:
    try:
        return options.wedge_options(device, None if start is None else start.base_width)
    except ValidationError as error:
        raise input_invalid(error, CorrectTomogramOptions, "options") from error


def _table(job: TomoCorrectJob, context: Context) -> Generator[Progress, None, tuple[TomogramTable, bool]]:
    """The table of the tomograms, and whether it was made here, from a folder."""
    inputs, options = job.inputs, job.options
    if inputs.tomograms.is_file():
        folders = [name for name in ("even", "odd", "tilt_folder") if getattr(inputs, name) is not None]
        if folders:
            raise InputInvalid(
                f"{inputs.tomograms}: is a table, and '{folders[0]}' goes with a folder of tomograms; write its files "
                "into the table (tomo prepare-star), or give the folder"
            )
        return read_tomogram_table(inputs.tomograms), False
    collected_from = PrepareStarInputs(
        folder=inputs.tomograms, even=inputs.even, odd=inputs.odd, tilt_folder=inputs.tilt_folder
    )
    how = PrepareStarOptions(
        pixel_size_A=options.pixel_size_A,
        tilt_min_deg=options.tilt_min_deg,
        tilt_max_deg=options.tilt_max_deg,
        maker=options.maker,
        mirrored=options.mirrored,
        check_wedge=options.check_wedge,
    )
    yield from collect_table(collected_from, how, context)
    return read_tomogram_table(context.folder.path / TABLE_NAME), True


def _looked_at(job: TomoCorrectJob, context: Context, rows: list[tuple[Tomogram, Wedge]], *, is_own: bool) -> list[str]:
    """See that every row can be used before anything takes time; returns what a user should know of them."""
    remarks: list[str] = []
    for tomogram, wedge in rows:
        refuse_to_replace(context, f"{tomogram.name}_corrected.mrc", _files(tomogram))
        with opened_halves(tomogram, wedge) as halves:
            remarks += halves.even.remarks
            if not halves.paired:
                remarks.append(
                    f"{tomogram.name}: there is one map and no even and odd halves, so noise is told from signal only "
                    "by how the spectrum falls; halves make the result better and its figures mean more"
                )
        # A folder's tomograms were looked at when their table was made.
        if job.options.check_wedge and not is_own:
            ends = wedge.sectors_deg[0][0], wedge.sectors_deg[-1][1]
            _, doubt = checked_wedge(_files(tomogram)[0], *ends)
            remarks += [] if doubt is None else [doubt]
    return remarks


def _files(tomogram: Tomogram) -> list[Any]:
    if tomogram.half1 is not None and tomogram.half2 is not None:
        return [tomogram.half1, tomogram.half2]
    return [one for one in (tomogram.full, tomogram.half1, tomogram.half2) if one is not None]


def _task(
    one: TomogramEvidence,
    how: str,
    networks: Sequence[Learned],
    wedge: WedgeOptions,
    options: CorrectTomogramOptions,
    context: Context,
) -> RowTask:
    made_from: dict[str, Any] = {
        "files": state_of(_files(one.tomogram)),
        "wedge": asdict(one.wedge),
        "network": how,
        "learning": wedge.model_dump(mode="json"),
        "type": options.output_type,
    }
    if len(networks) > 1:
        made_from["networks"] = len(networks)
    first, *more = networks
    steps = partial(corrected_tomogram, one, first, wedge, options.output_type, context, more=more)
    return RowTask(one.tomogram, made_from, steps)


def _metrics(found: Corrections) -> dict[str, Any]:
    numbers = [made.numbers for _, made in found.results.made]
    scores = [one["held_out"] for one in numbers if one["held_out"] is not None]
    return {
        "tomograms": len(numbers),
        "network": found.used.how,
        "held_out": min(scores) if scores else None,
        "fill": max((one["fill"] for one in numbers), default=None),
        "ghost_wedges": sum(one["ghost"] is not None for one in numbers),
        "networks": len(found.members),
        "spread": max(spreads_of(found), default=None),
        "reduced_by": found.evidence[0].evidence.factor,
        **{f"held_out_{one.how}": one.score.score for one in found.tried},
    }
