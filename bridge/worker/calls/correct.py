"""The joint part of an iteration: both half-maps in, both corrected maps out.

By default each half goes by itself through the network that comes with the program, which is told by the power of the
half-maps' difference how well each voxel is measured (docs/adr/0015). A network that begins anew is trained on the
pair, in spIsoNet's order (whitening, keep-low-resolution, 3DFSC, FSC weighting, training, prediction, low-pass). Either
way its map fills what the Wiener filter took away and leaves well-measured Fourier voxels as measured (docs/adr/0003).
From the prepared pair on all is as in a job.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.core.correction import CorrectionState, Finish, LowResolutions, Plan, ReadyPair, Regularised, prepare
from cryobridge.core.directional import Directions, sampling_volume
from cryobridge.core.fourier import within_limit
from cryobridge.core.relion import pair_quality
from cryobridge.core.training import Parking, TrainingRecord
from cryobridge.core.volume import operators, soft_sphere
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import DeadlineExceeded, InputInvalid

from ..jobs.pretrained import pretrained_network
from ..loop import Progress
from ..training.ladder import smaller_attempts, within_memory
from ..training.pair import predicted, trained, usable
from .agreement import cone_agreement
from .standard import KeptHalf
from .time_left import time_left

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corrected:
    """Both corrected maps (n, n, n) on the host, the line for RELION's log, and figures for the records."""

    map1: Tensor
    map2: Tensor
    line: str
    metrics: dict[str, float | int | str]
    state: CorrectionState


def correct_within_memory(
    first: KeptHalf,
    second: KeptHalf,
    options: CorrectionOptions,
    warm: CorrectionState | None,
    device: torch.device,
    parking: Parking,
) -> Generator[Progress | None, None, Corrected]:
    """Correct one iteration, with smaller micro-batches, then smaller tiles, when memory runs out.

    Raises
    ------
    DeadlineExceeded
        If the user's deadline passes.
    BadResult
        If the network's map is not finite or not on the standard map's scale.
    OutOfMemory, RuntimeError
        What the smallest attempt raised.
    """
    snapshot = warm.tensors() if warm is not None else None

    def attempt(smaller: CorrectionOptions, number: int) -> Generator[Progress | None, None, Corrected]:
        state = warm
        if number > 0 and snapshot is not None:
            # Some steps may have been taken before memory ran out: start again from where this iteration began.
            state = CorrectionState.from_tensors(snapshot, options, device)
        return _correct(first, second, smaller, state, device, parking)

    return (yield from within_memory(smaller_attempts(options), attempt, device, log.warning))


def _correct(
    first: KeptHalf,
    second: KeptHalf,
    options: CorrectionOptions,
    warm: CorrectionState | None,
    device: torch.device,
    parking: Parking,
) -> Generator[Progress | None, None, Corrected]:
    started = time.monotonic()
    ready = _ready(first, second, options, device)
    # RELION's own figure stands for all directions together.
    quality = pair_quality(*ready.halves, ready.mask, ready.voxel_size_A, overall_A=ready.limit_A)
    spread = quality.directions.spread
    reach, whence = f"{spread.best_A:.1f}-{spread.worst_A:.1f} A by direction", _whence(first, warm)
    yield Progress(f"correcting to {ready.limit_A:.1f} A ({reach}), {whence} network on {device.type}")
    state = warm if warm is not None else _first_network(first, options, device)
    state.to(device)
    record = TrainingRecord()
    with parking.holding(ready.tensors), parking.holding(state.held):
        train_started = time.monotonic()
        for report in trained(state, ready, options, record, parking):
            _check_time(started, first.options.deadline_s)
            left = time_left(report.step, report.steps, time.monotonic() - train_started)
            said = f"training {report.step}/{report.steps}, loss {report.loss:.3f}{left}"
            yield Progress(said, report.step / report.steps)
        train_s = time.monotonic() - train_started
        how, maps = _finish(first, options), list[Tensor]()
        for half, seen in zip((first, second), ready.sight.starts, strict=True):
            network_map = yield from predicted(state, half.half, seen, ready.sight, options, parking)
            maps.append(usable(ready, half.half, network_map, how, "the network's map"))
    line = f"FSC=0.143 at {ready.limit_A:.1f} A, {reach}, {_course(record.losses, whence)}, {_sharing(options, record)}"
    agreed = _worst_cone(ready, quality.directions, maps)
    if agreed is not None:
        line += _agreement(*agreed, options, begins_pretrained=first.options.begins_pretrained)
    metrics: dict[str, float | int | str] = {
        "limit_resolution_A": round(ready.limit_A, 3),
        "best_direction_A": round(spread.best_A, 3),
        "worst_direction_A": round(spread.worst_A, 3),
        **_losses(record.losses),
        **_cone_figures(agreed),
        "halves_apart": int(options.mode == "independent"),
        "steps": len(record.losses),
        "warm": int(warm is not None),
        "train_s": round(train_s, 3),
        "seconds": round(time.monotonic() - started, 3),
        "mode": options.mode,
        "device": device.type,
    }
    return Corrected(maps[0], maps[1], line, metrics, state)


def _worst_cone(ready: ReadyPair, directions: Directions, maps: list[Tensor]) -> tuple[float, float] | None:
    """How far RELION's raw halves and the corrected ones agree in the direction that is measured worst.

    None where that cannot be measured: it is a figure for people, and never costs a correction.
    """
    try:
        shell = max(1, min(round(ready.box * ready.voxel_size_A / ready.limit_A), (ready.box - 1) // 2))
        worst, mask = directions.vectors[directions.worst], ready.mask
        corrected = [one.to(ready.halves[0].device) for one in maps]
        raw = cone_agreement(*ready.halves, mask, worst, shell)
        after = cone_agreement(corrected[0], corrected[1], mask, worst, shell)
    except Exception:  # whatever it is, memory among others: both maps are there
        log.warning("the agreement in the worst cone could not be measured", exc_info=True)
        return None
    return (raw, after) if math.isfinite(raw) and math.isfinite(after) else None


def _agreement(raw: float, corrected: float, options: CorrectionOptions, *, begins_pretrained: bool) -> str:
    """The agreement in RELION's log, and why that of corrected halves is no resolution.

    What the network fills in comes from its training, so that halves filled by one network agree on that as well.
    """
    if options.mode != "independent":
        why = "one network saw both"
    elif begins_pretrained:
        why = "halves share one network's training"
    else:
        why = "networks filled in both"
    return f", FSC in the worst cone: raw sums {raw:.2f}; corrected halves {corrected:.2f}, no resolution: {why}"


def _cone_figures(agreed: tuple[float, float] | None) -> dict[str, float]:
    return {} if agreed is None else {"cone_fsc_raw": round(agreed[0], 4), "cone_fsc_corrected": round(agreed[1], 4)}


def _first_network(half: KeptHalf, options: CorrectionOptions, device: torch.device) -> CorrectionState:
    if half.options.begins_pretrained:
        return pretrained_network().started(options, device)
    return CorrectionState.new(options, device)


def _whence(half: KeptHalf, warm: CorrectionState | None) -> str:
    """Which network it is, in a word."""
    if warm is not None:
        return "warm"
    return "pre-trained" if half.options.begins_pretrained else "first"


def _check_time(started: float, deadline_s: float | None) -> None:
    if deadline_s is not None and time.monotonic() - started > deadline_s:
        raise DeadlineExceeded(f"the correction took longer than deadline_s = {deadline_s:g} s")


def _ready(first: KeptHalf, second: KeptHalf, network: CorrectionOptions, device: torch.device) -> ReadyPair:
    """The pair of an iteration as RELION's files and the user's options have it."""
    options, voxel_A, limit_A = first.options, first.voxel_size_A, first.limit_resolution_A()
    if math.isinf(limit_A) or first.unregularised is None or second.unregularised is None:
        raise InputInvalid("the half-maps agree at no resolution; there is nothing to learn from")
    if first.gain is None or second.gain is None:
        raise InputInvalid("the Wiener gain of this iteration is gone")
    keep_A, low = first.facts.initial_highres_A, None
    if options.keep_lowres and keep_A is not None:
        references = _on(device, first.starting_reference), _on(device, second.starting_reference)
        low = LowResolutions(references, keep_A)
    within = within_limit(first.box, voxel_A, limit_A)
    given = _weight(first, second)
    given = None if given is None else (given * within).to(device)
    level = options.begins_pretrained
    plan = Plan(
        limit_A=limit_A,
        whiten_from_A=options.whitening_low_A if options.whitening else None,
        low=low,
        measure_prepared=True,
        half_angle_deg=options.cone_half_angle_deg,
        form=options.fsc3d_form,
        given_weight=None if level else given,
        given_fraction=given if level else None,
        level=level,
        # A network that is given filtered halves weighs every voxel already; the radial weight would count twice.
        radial_weight=options.fsc_weighting and not network.filter_input,
        apart=network.mode == "independent",
    )
    return prepare(
        (first.unregularised.to(device), second.unregularised.to(device)),
        _mask(first).to(device),
        voxel_A,
        plan,
        Regularised(
            (first.standard.to(device), second.standard.to(device)), (first.gain.to(device), second.gain.to(device))
        ),
    )


def _weight(first: KeptHalf, second: KeptHalf) -> Tensor | None:
    """What says how well a voxel is measured in the place of the half-maps' FSC or noise, (n, n, n // 2 + 1), or None.

    RELION's Wiener gain is the signal's share f of a voxel as its own prior and weights have it.
    """
    options = first.options
    if options.sampling_density and first.angles_deg is not None:
        return sampling_volume(first.angles_deg, first.box)
    if options.weight == "gain" and first.gain is not None and second.gain is not None:
        return (first.gain + second.gain) / 2
    return None


def _mask(half: KeptHalf) -> Tensor:
    if half.mask is not None:
        return half.mask
    # RELION itself flattens to a sphere of the particle's diameter where no mask is given.
    diameter_A = half.facts.particle_diameter_A or half.box * half.voxel_size_A
    return soft_sphere(half.box, min(diameter_A / (2 * half.voxel_size_A), half.box / 2 - 5), 5.0)


def _finish(half: KeptHalf, network: CorrectionOptions) -> Finish:
    options = half.options
    return Finish(
        combine=options.combine,
        apart=network.mode == "independent",
        prior_variance=options.prior_variance,
        low_pass=options.lowpass,
        angular_whiten_from_A=options.whitening_low_A if options.angular_whiten else None,
        rotations=_rotations(half.facts.symmetry),
    )


def _rotations(point_group: str) -> Tensor | None:
    """The refinement's point group (g, 3, 3): RELION imposes it on its sums only, before it asks for a map.

    None for C1, and for a name that is none of ours (one with mirrors): then the network's map stays as it is.
    """
    try:
        rotations = operators(point_group)
    except ValueError:
        return None
    return rotations if len(rotations) > 1 else None


def _on(device: torch.device, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def _losses(losses: list[float]) -> dict[str, float]:
    """Mean loss of the first and the last ten steps; nothing where there were none."""
    ends = {"loss_first": losses[:10], "loss_last": losses[-10:]}
    return {name: round(sum(values) / len(values), 5) for name, values in ends.items() if values}


def _sharing(options: CorrectionOptions, record: TrainingRecord) -> str:
    """What the two half-sets have in common, for RELION's log."""
    if options.mode == "shared":
        return "one network for both half-sets"
    return "one network per half-set" if record.losses else "each half-set by itself"


def _course(losses: list[float], whence: str) -> str:
    """The training in a few words for RELION's log."""
    if not losses:
        return f"{whence} network, used as it came"
    begin, end = _losses(losses).values()
    return f"loss {begin:.3f} -> {end:.3f} in {len(losses)} {whence} steps"
