"""`map.correct`: correct two half-maps for directions that are measured badly."""

from __future__ import annotations

from collections.abc import Generator

import torch
from pydantic import ValidationError

from cryobridge.core.fourier import centred_spectrum
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.map_correct import CorrectOptions, MapCorrectJob
from cryobridge.schemas.validation import input_invalid

from ..checkpoint import Checkpoints, digest_of
from ..folder import OutputFolder
from ..iteration import resolution_range
from ..jobs import JobSteps
from ..loop import Progress
from ..ranks import ranks_from_environment
from ..tables import curve_table
from .correct_outputs import Outcome, outcome, share_changed
from .correct_prepare import Prepared, prepare
from .correct_training import Trained, Training
from .measured import sphericity_or_none

_PREPARED, _TRAINED = 0.05, 0.95


def run(job: MapCorrectJob, device: torch.device, folder: OutputFolder) -> JobSteps:
    """Measure, train, predict, put together; write maps, tables, the network and the report."""
    network = _network_options(job, device)
    ranks = ranks_from_environment(device)
    yield Progress("measuring the half-maps", 0.0)
    prepared = prepare(job, device)
    leads = ranks.index == 0
    if leads:
        folder.mark("measure")
        _begin(job, prepared, folder)
    best_A, worst_A = resolution_range(prepared.fsc3d, prepared.pair.voxel_size_A, job.options.half_angle_deg)
    words = f"correcting to {prepared.limit_A:.2f} A, 3DFSC {best_A:.2f}-{worst_A:.2f} A by direction"
    yield Progress(words, _PREPARED)
    training = Training(
        prepared=prepared,
        options=network,
        networks=job.options.ensemble,
        start=job.inputs.network,
        device=device,
        checkpoints=Checkpoints(folder.path, digest_of(job, network.model_dump(mode="json")), read_only=not leads),
        every_s=job.options.checkpoint_every_s,
        say=folder.log if leads else _nothing,
        ranks=ranks,
    )
    trained = yield from _within(_PREPARED, _TRAINED, training.results())
    if not leads:
        return {"kind": job.kind, "metrics": {}}
    folder.mark("train")
    yield Progress("putting the final maps together", _TRAINED)
    found = outcome(prepared, trained, job.options)
    _write(prepared, trained, found, folder)
    result = folder.finish(
        metrics=_metrics(prepared, trained, found, network, (best_A, worst_A)),
        options={**job.options.model_dump(mode="json"), **network.model_dump(mode="json")},
        statements=prepared.choices,
        seeds={f"network {index + 1}": network.seed + index for index in range(len(trained))},
    )
    training.checkpoints.remove(*training.names)
    return result


def _network_options(job: MapCorrectJob, device: torch.device) -> CorrectionOptions:
    try:
        network = job.options.network_options(device.type)
    except ValidationError as error:
        raise input_invalid(error, CorrectOptions, "options") from error
    if network.total_steps(warm=False) == 0:
        if job.inputs.network is None:
            raise InputInvalid("options: no steps means to predict only, which needs a network; give inputs.network")
        if job.options.ensemble > 1:
            raise InputInvalid("options: 'ensemble' needs training, but no steps are asked for; leave one of them out")
    return network


def _begin(job: MapCorrectJob, prepared: Prepared, folder: OutputFolder) -> None:
    """Write what is known before the training."""
    folder.open()
    for choice in prepared.choices:
        folder.log(choice)
    if prepared.mask_made and prepared.mask is not None:
        folder.write_map("mask.mrc", prepared.mask, prepared.pair.voxel_size_A)
    if not prepared.fsc3d_given:
        folder.write_map("FSC3D.mrc", centred_spectrum(prepared.fsc3d), prepared.pair.voxel_size_A)


def _write(prepared: Prepared, trained: list[Trained], found: Outcome, folder: OutputFolder) -> None:
    pair = prepared.pair
    for name, volume in (
        ("corrected_half1.mrc", found.half1),
        ("corrected_half2.mrc", found.half2),
        ("corrected.mrc", found.mean),
        ("spread.mrc", found.spread),
    ):
        if volume is not None:
            folder.write_map(name, volume, pair.voxel_size_A)
    curves = {"fsc": prepared.measured.curve, "fsc_corrected": found.fsc_after}
    folder.write_text("fsc.csv", curve_table(curves, pair.box, pair.voxel_size_A))


def _metrics(
    prepared: Prepared,
    trained: list[Trained],
    found: Outcome,
    network: CorrectionOptions,
    directions_A: tuple[float, float],
) -> dict[str, float | int | str | None]:
    losses = [loss for one in trained for loss in one.record.losses]
    steps = len(losses)
    pair = prepared.pair
    return {
        "box": pair.box,
        "voxel_size_A": pair.voxel_size_A,
        "mode": network.mode,
        "resolution_A": prepared.measured.resolution_A,
        "limit_resolution_A": prepared.limit_A,
        "best_direction_A": directions_A[0],
        "worst_direction_A": directions_A[1],
        "sphericity_0.5": sphericity_or_none(prepared.fsc3d),
        "steps": steps,
        "loss_first": _mean(losses[:10]),
        "loss_last": _mean(losses[-10:]),
        "seconds_per_step": round(sum(one.seconds for one in trained) / steps, 4) if steps else None,
        "power_changed": round(share_changed(found.change, pair.box, pair.voxel_size_A, prepared.limit_A), 4),
        "rms_change": round(found.moved, 4),
    }


def _within(
    first: float, last: float, steps: Generator[Progress | None, None, list[Trained]]
) -> Generator[Progress | None, None, list[Trained]]:
    """The same steps, their progress from 0 to 1 shown as from `first` to `last` of the whole."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            trained: list[Trained] = end.value
            return trained
        if progress is not None and progress.fraction is not None:
            progress = Progress(progress.text, first + (last - first) * progress.fraction)
        yield progress


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 5) if values else None


def _nothing(_: str) -> None:
    """Say nothing: what the first of several processes says is enough."""
