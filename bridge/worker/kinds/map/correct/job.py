"""`map.correct`: correct two half-maps for directions that are measured badly."""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import ValidationError

from cryobridge.core.fourier import centred_spectrum
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import OptionsInvalid
from cryobridge.schemas.kinds.map.correct import CorrectOptions, MapCorrectJob
from cryobridge.schemas.validation import input_invalid

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME, OutputFolder
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from ....memory import peak_bytes
from ....report.support import consistency_metrics
from ....training.ensemble import Ensemble
from ..measured import sphericity_or_none
from .correction import Correction, Cost, doubts_of
from .looking import looking_maps
from .measures import measure
from .outputs import outcome
from .prepare import Files, Prepared, prepare, read_files, whitened
from .report import page
from .written import write

_PREPARED, _TRAINED = 0.05, 0.95


def run(job: MapCorrectJob, context: Context) -> JobSteps:
    """Measure, train, predict, put together; write maps, tables, the network and the report."""
    device, folder = context.device, context.folder
    files = _files(job, device)
    network = files.network_options
    yield Progress("measuring the half-maps", 0.0)
    prepared = prepare(job, files, device)
    for choice in prepared.choices:
        yield Progress(choice)
    if context.leads:
        folder.mark("measure")
        _begin(job, prepared, folder)
    spread = prepared.measured.directions.spread
    words = f"correcting to {prepared.limit_A:.2f} A, {spread.best_A:.2f}-{spread.worst_A:.2f} A by direction"
    yield Progress(words, _PREPARED)
    training = Ensemble(
        ready=prepared.ready,
        options=network,
        networks=job.options.ensemble,
        start=files.network,
        device=device,
        checkpoints=context.checkpoints(network.model_dump(mode="json")),
        every_s=job.options.checkpoint_every_s,
        say=context.say,
        parking=context.parking,
        ranks=context.ranks,
    )
    with context.parking.holding(prepared.ready.tensors):
        trained = yield from scaled(_PREPARED, _TRAINED, training.results())
    if not context.leads:
        return {}
    folder.mark("train" if trained[0].record.losses else "predict")
    yield Progress("putting the final maps together", _TRAINED)
    found = outcome(prepared, trained, job.options)
    correction = Correction(
        job=job,
        prepared=prepared,
        trained=trained,
        found=found,
        network=network,
        measures=measure(prepared, found),
        looking=looking_maps(job.options, prepared, found),
        cost=Cost(folder.seconds, *peak_bytes(device)),
        others=doubts_of(found.consistency),
    )
    write(correction, folder)
    folder.write_text(REPORT_NAME, page(correction))
    folder.mark("finish")
    result = folder.finish(
        metrics=_metrics(correction),
        options=_as_used(job.options, network, prepared),
        statements=[*correction.verdict.reasons, *correction.statements, *correction.looking.complaints],
        seeds={f"network {index + 1}": network.seed + index for index in range(len(trained))},
    )
    training.clear()
    return result


def _files(job: MapCorrectJob, device: torch.device) -> Files:
    options = job.options
    return read_files(
        job.inputs,
        _network_options(job, device),
        options.voxel_size_A,
        device,
        pretrained=options.begins_pretrained,
        chosen=options.model_fields_set,
    )


def _network_options(job: MapCorrectJob, device: torch.device) -> CorrectionOptions:
    try:
        network = job.options.network_options(device.type)
    except ValidationError as error:
        raise input_invalid(error, CorrectOptions, "options") from error
    if network.total_steps(warm=False) == 0:
        if job.inputs.network is None and not job.options.begins_pretrained:
            raise OptionsInvalid(
                "options", "no steps means to predict only, which needs a network; give inputs.network"
            )
        if job.options.ensemble > 1:
            raise OptionsInvalid(
                "options", "'ensemble' needs training, but no steps are asked for; leave one of them out"
            )
    return network


def _as_used(options: CorrectOptions, network: CorrectionOptions, prepared: Prepared) -> dict[str, Any]:
    """Every option with what was chosen for it where the job left it open."""
    return {
        **options.model_dump(mode="json"),
        **network.model_dump(mode="json"),
        "independent": network.mode == "independent",
        "limit_resolution_A": prepared.limit_A,
        "weight": options.weighting,
        "whiten": whitened(options, prepared.limit_A),
        "combine": options.combination,
    }


def _begin(job: MapCorrectJob, prepared: Prepared, folder: OutputFolder) -> None:
    """Write what is known before the training."""
    folder.open()
    for choice in prepared.choices:
        folder.log(choice)
    if prepared.mask_made and prepared.mask is not None:
        folder.write_map("mask.mrc", prepared.mask, prepared.pair.voxel_size_A, prepared.pair.position)
    if not prepared.fsc3d_given:
        folder.write_map("FSC3D.mrc", centred_spectrum(prepared.fsc3d), prepared.pair.voxel_size_A)


def _metrics(correction: Correction) -> dict[str, float | int | str | None]:
    prepared, found, trained = correction.prepared, correction.found, correction.trained
    losses = [loss for one in trained for loss in one.record.losses]
    steps = len(losses)
    pair = prepared.pair
    return {
        "box": pair.box,
        "voxel_size_A": pair.voxel_size_A,
        "mode": correction.network.mode,
        "resolution_A": _finite(prepared.measured.resolution_A),
        "limit_resolution_A": prepared.limit_A,
        "best_direction_A": prepared.measured.directions.spread.best_A,
        "worst_direction_A": prepared.measured.directions.spread.worst_A,
        "sphericity_0.5": sphericity_or_none(prepared.fsc3d),
        "networks": len(trained),
        "steps": steps,
        "loss_first": _mean(losses[:10]),
        "loss_last": _mean(losses[-10:]),
        "seconds_per_step": round(sum(one.seconds for one in trained) / steps, 4) if steps else None,
        "power_changed_well_measured": _finite(found.changed_well),
        "power_changed_badly_measured": _finite(found.changed_badly),
        "trial_trained": None if trained[0].choice is None else round(trained[0].choice.trained, 4),
        "trial_untouched": None if trained[0].choice is None else round(trained[0].choice.untouched, 4),
        "rms_change": round(found.moved, 4),
        "rms_change_outside": _finite(correction.measures.outside),
        "spread": _finite(found.relative_spread),
        **consistency_metrics(found.consistency),
        "verdict": correction.verdict.words,
        **{f"direction_{name}_A": _finite(value) for name, value in correction.measures.resolution_spread.items()},
        "amplitude_badly_measured": _finite(correction.measures.signal_badly),
        "peak_memory_GB": round(correction.cost.host_bytes / 1e9, 2),
        "peak_gpu_memory_GB": None if correction.cost.gpu_bytes is None else round(correction.cost.gpu_bytes / 1e9, 2),
    }


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 5) if values else None


def _finite(value: float) -> float | None:
    """The value to four digits; None where there is none, since JSON knows neither infinity nor NaN."""
    return round(value, 4) if math.isfinite(value) else None
