"""The joint part of an iteration: both half-maps in, both corrected maps out.

The order is spIsoNet's (whitening, keep-low-resolution, 3DFSC, FSC weighting, training, prediction, low-pass);
the last step differs by default: the network's map fills what the Wiener filter took away and leaves
well-measured Fourier voxels as measured (docs/adr/0003).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch

from cryobridge.core.correction import CorrectionState, posterior, predict_steps, train
from cryobridge.core.directional import crossing_radius, fsc3d, sampling_volume
from cryobridge.core.fourier import angular_whiten, combine, fibonacci_directions, fsc_weight, lowpass, radius, whiten
from cryobridge.core.training import StepReport
from cryobridge.core.volume import soft_sphere
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import BadResult, DeadlineExceeded, InputInvalid
from cryobridge.schemas.relion import RelionOptions

from ..loop import Progress
from ..memory import give_back, is_out_of_memory
from .standard import KeptHalf

log = logging.getLogger(__name__)

_DIRECTIONS = 500


@dataclass(frozen=True)
class Corrected:
    """Both corrected maps (n, n, n) on the host, the line for RELION's log, and figures for the records."""

    map1: torch.Tensor
    map2: torch.Tensor
    line: str
    metrics: dict[str, float | int | str]
    state: CorrectionState


@dataclass(frozen=True)
class PreparedIteration:
    """What training starts from: both halves filtered and weighted, the 3DFSC, the mask. All on the device."""

    half1: torch.Tensor
    half2: torch.Tensor
    weight: torch.Tensor
    mask: torch.Tensor
    limit_A: float
    directions_A: tuple[float, float]


def correct(
    first: KeptHalf,
    second: KeptHalf,
    options: CorrectionOptions,
    warm: CorrectionState | None,
    device: torch.device,
) -> Generator[Progress | None, None, Corrected]:
    """Correct one iteration.

    Raises
    ------
    DeadlineExceeded
        If the user's deadline passes.
    BadResult
        If the network's map is not finite or not on the standard map's scale.
    """
    started = time.monotonic()
    deadline = first.options.deadline_s
    prepared = _prepare(first, second, options, device)
    yield Progress(
        f"correcting to {prepared.limit_A:.1f} A (3DFSC {prepared.directions_A[0]:.1f}-"
        f"{prepared.directions_A[1]:.1f} A by direction), {'warm' if warm else 'first'} network on {device.type}"
    )
    state = warm if warm is not None else CorrectionState.new(options, device)
    state.to(device)
    train_started = time.monotonic()
    losses: list[float] = []
    for report in _trained(state, prepared, options):
        losses.append(report.loss)
        if deadline is not None and time.monotonic() - started > deadline:
            raise DeadlineExceeded(f"the correction took longer than deadline_s = {deadline:g} s")
        yield Progress(f"training {report.step}/{report.steps}, loss {report.loss:.3f}", report.step / report.steps)
    train_s = time.monotonic() - train_started
    maps: list[torch.Tensor] = []
    for which, (half, volume) in enumerate(((first, prepared.half1), (second, prepared.half2)), start=1):
        network_map: torch.Tensor | None = None
        for tile in predict_steps(state, which, volume, prepared.weight, prepared.mask, options):
            network_map = tile
            yield None
        if network_map is None:
            raise BadResult("the prediction ended without a map")
        maps.append(_finish(half, network_map, prepared, device))
    seconds = time.monotonic() - started
    mode = "one network per half-set" if options.mode == "independent" else "one network for both half-sets"
    line = (
        f"FSC=0.143 at {prepared.limit_A:.1f} A, 3DFSC {prepared.directions_A[0]:.1f}-"
        f"{prepared.directions_A[1]:.1f} A by direction, loss {_mean(losses[:10]):.3f} -> {_mean(losses[-10:]):.3f} in "
        f"{len(losses)} {'warm' if warm else 'first'} steps, {mode}"
    )
    metrics: dict[str, float | int | str] = {
        "limit_resolution_A": round(prepared.limit_A, 3),
        "best_direction_A": round(prepared.directions_A[0], 3),
        "worst_direction_A": round(prepared.directions_A[1], 3),
        "loss_first": round(_mean(losses[:10]), 5),
        "loss_last": round(_mean(losses[-10:]), 5),
        "steps": len(losses),
        "warm": int(warm is not None),
        "train_s": round(train_s, 3),
        "seconds": round(seconds, 3),
        "mode": options.mode,
        "device": device.type,
    }
    return Corrected(maps[0], maps[1], line, metrics, state)


def correct_within_memory(
    first: KeptHalf,
    second: KeptHalf,
    options: CorrectionOptions,
    warm: CorrectionState | None,
    device: torch.device,
) -> Generator[Progress | None, None, Corrected]:
    """Run `correct`, with smaller micro-batches, then smaller tiles, when memory runs out.

    Raises
    ------
    OutOfMemory, RuntimeError
        What the smallest attempt raised.
    """
    snapshot = warm.tensors() if warm is not None else None
    attempts = smaller_attempts(options)
    for number, attempt in enumerate(attempts):
        try:
            return (yield from correct(first, second, attempt, warm, device))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or number + 1 == len(attempts):
                raise
            log.warning("out of memory, trying smaller batches: %s", error)
        give_back(device)
        # Some steps may have been taken before memory ran out: start again from where this iteration began.
        warm = CorrectionState.from_tensors(snapshot, options, device) if snapshot is not None else None
        yield Progress("out of memory: trying again with smaller batches")
    raise AssertionError("unreachable: the last attempt returns or raises")


def smaller_attempts(options: CorrectionOptions) -> list[CorrectionOptions]:
    """The options as they are, then with single crops at a time, then with the smallest tiles as well."""
    single = options.model_copy(update={"acc_batches": options.batch})
    tiles = single.model_copy(update={"crop_size": max(32, options.cube_size)})
    return [options, single, tiles]


def _prepare(first: KeptHalf, second: KeptHalf, network: CorrectionOptions, device: torch.device) -> PreparedIteration:
    options = first.options
    voxel_A = first.voxel_size_A
    limit_A = first.limit_resolution_A()
    if math.isinf(limit_A) or first.unregularised is None or second.unregularised is None:
        raise InputInvalid("the half-maps agree at no resolution; there is nothing to learn from")
    n = first.box
    mask = _mask(first, n).to(device)
    maps = [half.unregularised.to(device) for half in (first, second) if half.unregularised is not None]
    if options.whitening and limit_A < options.whitening_low_A:
        maps = [whiten(m, voxel_A, options.whitening_low_A, limit_A, mask) for m in maps]
    keep_A = first.facts.initial_highres_A
    references = (first.starting_reference, second.starting_reference)
    if options.keep_lowres and keep_A is not None:
        maps = [
            m if reference is None else combine(reference.to(device), m, voxel_A, keep_A, mask)
            for m, reference in zip(maps, references, strict=True)
        ]
    limit_shell = min(int(n * voxel_A / limit_A + 1), n // 2)
    directions = _fsc3d(options, maps, mask, limit_shell)
    weight = directions
    if options.sampling_density and first.angles_deg is not None:
        weight = (sampling_volume(first.angles_deg, n) * (radius(n) < limit_shell)).to(device)
    elif options.weight == "gain":
        weight = _mean_gain(first, second, limit_shell).to(device)
    # A network that is given filtered halves weighs every voxel already; the radial weight would count twice.
    if options.fsc_weighting and not network.filter_input:
        maps = [fsc_weight(m, weight) for m in maps]
    return PreparedIteration(
        half1=maps[0],
        half2=maps[1],
        weight=weight,
        mask=mask,
        limit_A=limit_A,
        directions_A=resolution_range(directions, voxel_A, options.cone_half_angle_deg),
    )


def _fsc3d(options: RelionOptions, maps: list[torch.Tensor], mask: torch.Tensor, limit_shell: int) -> torch.Tensor:
    values = fsc3d(
        maps[0],
        maps[1],
        mask,
        limit_shell=limit_shell,
        half_angle_deg=options.cone_half_angle_deg,
        form=options.fsc3d_form,
    )
    # Where the halves contradict each other there is nothing to trust, and a weight below 0 has no meaning.
    return values.clamp(0.0, 1.0)


def _mean_gain(first: KeptHalf, second: KeptHalf, limit_shell: int) -> torch.Tensor:
    """Return how well each Fourier voxel is measured, from RELION's own weights and prior."""
    if first.gain is None or second.gain is None:
        raise InputInvalid("the Wiener gain of this iteration is gone")
    return (first.gain + second.gain) / 2 * (radius(first.box) < limit_shell)


def resolution_range(
    fsc3d_volume: torch.Tensor, voxel_size_A: float, half_angle_deg: float = 10.0
) -> tuple[float, float]:
    """Return the best and the worst resolution in A over directions; see `direction_resolutions`."""
    _, resolutions = direction_resolutions(fsc3d_volume, voxel_size_A, half_angle_deg)
    return float(resolutions.min()), float(resolutions.max())


def direction_resolutions(
    fsc3d_volume: torch.Tensor, voxel_size_A: float, half_angle_deg: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return directions (k, 3) and the resolution in A of each, where the 3DFSC first falls below 0.143.

    Shells in which a cap of the half-angle holds fewer than four voxels are taken as measured: there the 3DFSC is
    the phase of one voxel or two, and a direction is not lost by a chance value at 80 A.
    """
    n = fsc3d_volume.shape[0]
    cap = 2.0 * math.pi * (1.0 - math.cos(math.radians(half_angle_deg)))
    sparse = radius(n, fsc3d_volume.device) < math.sqrt(4.0 / cap)
    judged = torch.where(sparse & (fsc3d_volume != 0.0), 1.0, fsc3d_volume)
    directions = fibonacci_directions(_DIRECTIONS, fsc3d_volume.device)
    return directions, n * voxel_size_A / crossing_radius(judged, directions, 0.143).clamp(min=1.0)


def _mask(half: KeptHalf, n: int) -> torch.Tensor:
    if half.mask is not None:
        return half.mask
    # RELION itself flattens to a sphere of the particle's diameter where no mask is given.
    diameter_A = half.facts.particle_diameter_A or n * half.voxel_size_A
    radius = min(diameter_A / (2 * half.voxel_size_A), n / 2 - 5)
    return soft_sphere(n, radius, 5.0)


def _finish(
    half: KeptHalf, network_map: torch.Tensor, prepared: PreparedIteration, device: torch.device
) -> torch.Tensor:
    standard = half.standard.to(device)
    if half.options.lowpass:
        network_map = lowpass(network_map, half.voxel_size_A, prepared.limit_A)
    if half.options.combine == "fill":
        if half.gain is None:
            raise InputInvalid("the Wiener gain of this half is gone")
        result = posterior.fill(
            standard, network_map, half.gain.to(device), prepared.mask, prior_variance=half.options.prior_variance
        )
    else:
        result = network_map
    if half.options.angular_whiten:
        result = angular_whiten(result, half.voxel_size_A, half.options.whitening_low_A, prepared.limit_A)
    if (complaint := posterior.plausible(result, standard)) is not None:
        raise BadResult(f"the network's map of half {half.half} is not usable: {complaint}")
    return result.to(torch.float32).cpu()


def _trained(
    state: CorrectionState, prepared: PreparedIteration, options: CorrectionOptions
) -> Generator[StepReport, None, None]:
    try:
        yield from train(state, prepared.half1, prepared.half2, prepared.weight, prepared.mask, options)
    except ValueError as error:
        raise BadResult(f"training failed: {error}") from error


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
