"""`map.correct`, last part: from the networks' maps to the corrected half-maps, and what was changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.core import posterior
from cryobridge.core.change import power_changed, rms_difference
from cryobridge.core.combine import combine
from cryobridge.core.directions import fibonacci_directions
from cryobridge.core.fourier import apply_filter
from cryobridge.core.fsc import fsc
from cryobridge.core.fsc3d import crossing_radius
from cryobridge.schemas.errors import BadResult
from cryobridge.schemas.map_correct import CorrectOptions

from .correct_prepare import Prepared
from .correct_training import Trained

_DIRECTIONS = 500


@dataclass(frozen=True)
class Outcome:
    """The maps of a correction on the host, (n, n, n), and what can be said of them.

    half1, half2, spread
        The corrected half-maps; the standard deviation over the networks of their mean, or None for one network.
    fsc_after
        FSC between the corrected half-maps inside the mask, (n // 2 + 1,).
    axis
        Unit vector (3,) z, y, x of the worst-measured direction.
    change
        Share of the power changed, (n // 2 + 1, polar bins) about that axis, see `core.change`.
    moved
        RMS difference to the input inside the mask, as a share of the input's deviation.
    """

    half1: Tensor
    half2: Tensor
    spread: Tensor | None
    fsc_after: Tensor
    axis: Tensor
    change: Tensor
    moved: float

    @property
    def mean(self) -> Tensor:
        """The mean of the corrected half-maps."""
        return (self.half1 + self.half2) / 2


def outcome(prepared: Prepared, trained: Sequence[Trained], options: CorrectOptions) -> Outcome:
    """Put the final maps together.

    Raises
    ------
    BadResult
        If a map is not finite or not on the scale of its half-map.
    """
    each = [
        tuple(_finished(prepared, half, volume, options) for half, volume in ((1, one.map1), (2, one.map2)))
        for one in trained
    ]
    half1, half2 = (torch.stack([maps[half] for maps in each]).mean(0) for half in (0, 1))
    means = torch.stack([(maps[0] + maps[1]) / 2 for maps in each])
    device = prepared.fsc3d.device
    mask, originals = prepared.mask, prepared.originals
    before, after = (originals[0] + originals[1]) / 2, ((half1 + half2) / 2).to(device)
    axis = worst_direction(prepared.fsc3d)
    return Outcome(
        half1=half1,
        half2=half2,
        spread=means.std(0) if len(trained) > 1 else None,
        fsc_after=fsc(half1.to(device), half2.to(device), mask).cpu(),
        axis=axis.cpu(),
        change=power_changed(before, after, axis, mask).cpu(),
        moved=rms_difference(before, after, mask),
    )


def worst_direction(fsc3d: Tensor) -> Tensor:
    """Unit vector (3,) z, y, x of the direction in which a 3DFSC (n, n, n // 2 + 1) falls off first."""
    directions = fibonacci_directions(_DIRECTIONS, fsc3d.device)
    worst: Tensor = directions[crossing_radius(fsc3d, directions, 0.143).argmin()]
    return worst


def _finished(prepared: Prepared, half: int, network_map: Tensor, options: CorrectOptions) -> Tensor:
    """The corrected map of a half: of its own data and its network's map, on its own grey scale."""
    start, original = prepared.starts[half - 1], prepared.originals[half - 1]
    result = network_map.to(start.device)
    if options.combination == "fill":
        # Within the limit the grey scale is that of the measured voxels, so nothing has to be matched at the joint.
        within = prepared.within_limit
        gain = posterior.gain_from_fsc(prepared.fsc3d) * within
        result = posterior.fill(
            apply_filter(start, gain), result, gain, prepared.mask, prior_variance=options.prior_variance
        )
        complaint = posterior.plausible(result, apply_filter(start, within))
        result = result + apply_filter(original, 1 - within)
    else:
        complaint = posterior.plausible(result, start)
        if complaint is None:
            result = combine(result, original, prepared.pair.voxel_size_A, prepared.limit_A, prepared.mask)
            complaint = posterior.plausible(result, original)
    if complaint is not None:
        raise BadResult(f"the corrected map of half {half} is not usable: {complaint}")
    return result.float().cpu()


def share_changed(change: Tensor, box: int, voxel_size_A: float, limit_A: float) -> float:
    """Mean over shells up to the limit and over polar bins of the share of power changed."""
    last = max(1, math.floor(box * voxel_size_A / limit_A))
    return float(change[1 : last + 1].nanmean())
