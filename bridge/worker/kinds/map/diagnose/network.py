"""`map.diagnose`, the part with a network: the directional hold-out test, and controls without a signal."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.correction import CorrectionState, predict_steps
from cryobridge.core.diagnosis import (
    Cone,
    HeldOut,
    corrected_for_control,
    degrade,
    mean_score,
    noise_pair,
    phase_randomised_pair,
    power_gain,
    score,
    worst_and_best,
)
from cryobridge.core.directional import judged
from cryobridge.core.fourier import apply_filter, fsc, resolution_shell
from cryobridge.core.training import ALONE
from cryobridge.schemas.correction import BASE_WIDTH, CorrectionOptions
from cryobridge.schemas.envelope import JOB_SCHEMA
from cryobridge.schemas.errors import BadResult, InputInvalid
from cryobridge.schemas.kinds.map.correct import CorrectOptions, MapCorrectJob
from cryobridge.schemas.kinds.map.diagnose import MapDiagnoseJob

from ....jobs.context import Context
from ....jobs.folder import OutputFolder
from ....jobs.pretrained import layout_of, load_network
from ....loop import Progress
from ..correct.outputs import outcome
from ..correct.prepare import network_inputs, prepare, training_weight
from ..correct.training import Training
from ..measured import Measured
from .measure import Directions

_CHECKPOINT_EVERY_S = 60.0
_WEIGHT_HALF_ANGLE_DEG = CorrectOptions().half_angle_deg
_RANDOMISE_BELOW = 0.8
_CONTROL_OFFSET = 2
"""Shells from where phases are random to where they count, as in the correction for a mask."""


@dataclass(frozen=True)
class Network:
    """A trained network, and the options to run it with."""

    state: CorrectionState
    options: CorrectionOptions


@dataclass(frozen=True)
class HoldOut:
    """What a correction brought back into a cone that was made bad.

    axis, like
        Unit vectors (3,) z, y, x of the cone, and of the worst direction that it was made like.
    curves
        By name, (n // 2 + 1,): FSC between the halves in the cone as measured and as spoilt; FSC to the map as measured
        before and after the correction.
    before, after
        Means of the latter two over the shells that count; NaN where the cone could not be made worse.
    losses
        Of the training, one a step.
    network
        The network, for the controls.
    """

    axis: Tensor
    like: Tensor
    curves: dict[str, Tensor]
    before: float
    after: float
    losses: list[float]
    network: Network


@dataclass(frozen=True)
class Controls:
    """What a network makes of halves without a common signal.

    curves
        By name, (n // 2 + 1,): FSC of noise before and after the network, of the half-maps after it, and of the
        half-maps with random phases after it; the half-maps' corrected for the latter.
    noise_before, noise_after
        Mean FSC of pure noise up to the limit.
    noise_power
        Power of noise after the network over that before.
    true_phases, random_phases
        Mean FSC after the network, beyond where phases are random; NaN where they could not be randomised.
    """

    curves: dict[str, Tensor]
    noise_before: float
    noise_after: float
    noise_power: float
    true_phases: float
    random_phases: float


def stored_network(path: Path, device: torch.device, seed: int) -> Network:
    """Read a network from a file.

    The file tells width, normalisation and number of networks. What it is shown of a map goes by the normalisation:
    batch is the published method, anything else ours.

    Raises
    ------
    InputInvalid
        If the file is no network, or of a width that no preset has.
    """
    layout = layout_of(path)
    preset = {width: name for name, width in BASE_WIDTH.items()}.get(layout.base_width)
    if preset is None:
        raise InputInvalid(
            f"{path}: is a network of width {layout.base_width}; only {list(BASE_WIDTH.values())} are run"
        )
    make = CorrectionOptions.published if layout.norm == "batch" else CorrectionOptions.for_device
    mode = "independent" if layout.networks == 2 else "shared"
    options = make(device.type, preset=preset, norm=layout.norm, mode=mode, seed=seed)
    return Network(load_network(path, options, device), options)


def hold_out(
    job: MapDiagnoseJob,
    measured: Measured,
    voxel_A: float,
    directions: Directions,
    symmetry: Tensor | None,
    context: Context,
) -> Generator[Progress | None, None, HoldOut]:
    """Spoil a well-measured cone, run the correction as `map.correct` does by default, and score it in the cone.

    Progress goes from 0 to 1.
    """
    options, device, folder = job.options, context.device, context.folder
    angle = options.half_angle_deg
    worst, best = worst_and_best(directions.curves, directions.vectors, angle, symmetry)
    cone = Cone(directions.vectors[best : best + 1], angle).with_mates(symmetry)
    like = Cone(directions.vectors[worst : worst + 1], angle).with_mates(symmetry)
    generator = torch.Generator().manual_seed(options.seed)
    spoilt = degrade(measured.half1, measured.half2, cone, like, generator)
    correction = _spoilt_job(job, spoilt, measured, voxel_A, folder)
    network = correction.options.network_options(device.type)
    prepared = prepare(correction, device)
    training = Training(
        prepared=prepared,
        options=network,
        networks=1,
        start=None,
        device=device,
        checkpoints=context.checkpoints(network.model_dump(mode="json")),
        every_s=_CHECKPOINT_EVERY_S,
        say=context.say,
        ranks=ALONE,
    )
    trained = (yield from training.results())[0]
    found = outcome(prepared, [trained], correction.options)
    training.checkpoints.remove(*training.names)
    # What one would have without a network: the same weights, nothing filled in.
    standard = apply_filter((spoilt.half1 + spoilt.half2) / 2, prepared.gain)
    full = (measured.half1 + measured.half2) / 2
    before, after = (score(volume, full, cone, measured.mask) for volume in (standard, found.mean.to(device)))
    shells = _counted(spoilt.fsc_before, spoilt.fsc_aimed, angle)
    return HoldOut(
        axis=directions.vectors[best].cpu(),
        like=directions.vectors[worst].cpu(),
        curves={
            "halves_as_measured": spoilt.fsc_before,
            "halves_spoilt": spoilt.fsc_aimed,
            "to_measured_before": before,
            "to_measured_after": after,
        },
        before=mean_score(before, shells),
        after=mean_score(after, shells),
        losses=list(trained.record.losses),
        network=Network(CorrectionState.from_tensors(trained.network, network, device), network),
    )


def controls(
    measured: Measured, voxel_A: float, network: Network, seed: int
) -> Generator[Progress | None, None, Controls]:
    """Run a network over noise, over the half-maps, and over the half-maps with random phases.

    The network's maps are compared as they are, before anything measured is put together with them.
    """
    generator = torch.Generator().manual_seed(seed)
    mask, n = measured.mask, measured.half1.shape[-1]
    options = CorrectOptions(method=network.options.loss)
    weight = _weight(measured, options)

    def seen(halves: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return network_inputs(halves, options, voxel_A, measured.limit_A, mask)

    def through(halves: tuple[Tensor, Tensor]) -> Generator[None, None, tuple[Tensor, Tensor]]:
        maps = []
        for which, half in enumerate(halves, start=1):
            result: Tensor | None = None
            for step in predict_steps(network.state, which, half, weight, mask, network.options):
                result = step
                yield None
            if result is None:
                raise BadResult("the prediction ended without a map")
            maps.append(result)
        return maps[0], maps[1]

    shell = torch.arange(n // 2 + 1, device=measured.curve.device)
    within = (shell > 0) & (shell < measured.limit_shell)
    yield Progress("controls: pure noise through the network", 0.0)
    noise = seen(noise_pair(measured.half1, measured.half2, generator))
    noise_maps = yield from through(noise)
    yield Progress("controls: the half-maps through the network", 0.35)
    maps = yield from through(seen((measured.half1, measured.half2)))
    curves = {"noise_before": fsc(*noise, mask), "noise_after": fsc(*noise_maps, mask), "true_phases": fsc(*maps, mask)}
    true_phases = random_phases = math.nan
    randomised_from = _first_below(fsc(measured.half1, measured.half2), _RANDOMISE_BELOW)
    if randomised_from is not None:
        yield Progress("controls: random phases through the network", 0.7)
        halves = seen(phase_randomised_pair(measured.half1, measured.half2, randomised_from, generator))
        curves["random_phases"] = fsc(*(yield from through(halves)), mask)
        curves["corrected"] = corrected_for_control(curves["true_phases"], curves["random_phases"])
        beyond = within & (shell >= randomised_from + _CONTROL_OFFSET)
        true_phases, random_phases = (mean_score(curves[key], beyond) for key in ("true_phases", "random_phases"))
    return Controls(
        curves=curves,
        noise_before=mean_score(curves["noise_before"], within),
        noise_after=mean_score(curves["noise_after"], within),
        noise_power=power_gain(noise[0], noise_maps[0], mask),
        true_phases=true_phases,
        random_phases=random_phases,
    )


def _spoilt_job(
    job: MapDiagnoseJob, spoilt: HeldOut, measured: Measured, voxel_A: float, folder: OutputFolder
) -> MapCorrectJob:
    """The correction of the spoilt half-maps, which are written so that it can be repeated and looked at."""
    options = job.options
    paths = {}
    for key, half in (("half1", spoilt.half1), ("half2", spoilt.half2)):
        name = f"hold_out_{key}.mrc"
        folder.write_map(name, half, voxel_A)
        paths[key] = folder.path / name
    chosen = {"mode": options.mode, "seed": options.seed, "symmetry": options.symmetry}
    if options.steps is not None:
        chosen["steps"] = options.steps
    return MapCorrectJob.model_validate(
        {
            "schema": JOB_SCHEMA,
            "inputs": {**paths, "mask": job.inputs.mask},
            "output": folder.path,
            "options": {**chosen, "limit_resolution_A": measured.limit_A},
        }
    )


def _weight(measured: Measured, options: CorrectOptions) -> Tensor:
    """How well each Fourier voxel is measured, as `map.correct` tells its networks."""
    return training_weight(measured.fsc3d(_WEIGHT_HALF_ANGLE_DEG, "phase_cosine").clamp(0.0, 1.0), options)


def _counted(measured: Tensor, aimed: Tensor, half_angle_deg: float) -> Tensor:
    """Shells (m,) in which the cone had been measured and was made worse."""
    shell = torch.arange(measured.shape[0], device=measured.device)
    last = resolution_shell(judged(measured[None], half_angle_deg)[0])
    return (shell > 0) & (shell <= last) & (aimed < measured)


def _first_below(curve: Tensor, threshold: float) -> int | None:
    """First shell but 0 in which a curve (m,) is below a threshold."""
    below = (curve[1:] < threshold).nonzero()
    return int(below[0]) + 1 if below.numel() else None
