"""`map.correct`, last part: from the networks' maps to the corrected half-maps, and what was changed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.core.correction import Finish, mean_and_spread
from cryobridge.core.diagnosis import (
    Consistency,
    consistency,
    power_changed,
    power_changed_by_measure,
    rms_difference,
)
from cryobridge.core.fourier import fsc, within_limit
from cryobridge.core.volume import operators
from cryobridge.schemas.kinds.map.correct import CorrectOptions

from ....training.ensemble import Trained
from ....training.pair import usable
from .prepare import Prepared


@dataclass(frozen=True)
class CorrectedPair:
    """The maps of a correction on the host, (n, n, n), and what can be said of them.

    half1, half2, spread
        The corrected half-maps; the standard deviation over the networks of their mean, or None for one network.
    fsc_after
        FSC between the corrected half-maps inside the mask, (n // 2 + 1,).
    axis
        Unit vector (3,) z, y, x of the worst-measured direction.
    change
        Share of the power changed, (n // 2 + 1, polar bins) about that axis, see `core.diagnosis`.
    changed_well, changed_badly
        Share of the power changed in Fourier voxels that are measured well and badly; NaN where there are none.
    moved, correlation
        RMS difference of the means before and after inside the mask, as a share of the deviation before; and their
        correlation there.
    consistency
        How the corrected half-maps stand to what was measured.
    """

    half1: Tensor
    half2: Tensor
    spread: Tensor | None
    fsc_after: Tensor
    axis: Tensor
    change: Tensor
    changed_well: float
    changed_badly: float
    moved: float
    correlation: float
    consistency: Consistency

    @property
    def mean(self) -> Tensor:
        """The mean of the corrected half-maps."""
        return (self.half1 + self.half2) / 2

    @property
    def relative_spread(self) -> float:
        """Median spread over the deviation of the mean map, where that is not solvent; NaN for one network."""
        if self.spread is None:
            return math.nan
        inside = self.mean.abs() > self.mean.std()
        return float(self.spread[inside].median() / self.mean[inside].std())


def outcome(prepared: Prepared, trained: Sequence[Trained], options: CorrectOptions) -> CorrectedPair:
    """Put the final maps together.

    Raises
    ------
    BadResult
        If a map is not finite or not on the scale of its half-map.
    """
    how = finish_of(options)
    # Where a 3DFSC is given nothing else ties independent halves to each other.
    if not (prepared.fsc3d_given and options.is_independent):
        how = dataclasses.replace(how, halves_fsc=prepared.measured.curve)
    each = [
        [usable(prepared.ready, half, volume, how, "the corrected map") for half, volume in enumerate(one.maps, 1)]
        for one in trained
    ]
    half1, half2 = (torch.stack([maps[half] for maps in each]).mean(0) for half in (0, 1))
    fsc3d, mask, originals = prepared.fsc3d, prepared.mask, prepared.originals
    first, second = half1.to(fsc3d.device), half2.to(fsc3d.device)
    before, after = (originals[0] + originals[1]) / 2, (first + second) / 2
    directions = prepared.measured.directions
    axis = directions.vectors[directions.worst]
    within = within_limit(prepared.pair.box, prepared.pair.voxel_size_A, prepared.limit_A, fsc3d.device) > 0
    well, badly = power_changed_by_measure(before, after, fsc3d, within, mask)
    return CorrectedPair(
        half1=half1,
        half2=half2,
        spread=mean_and_spread((maps[0] + maps[1]) / 2 for maps in each)[1] if len(each) > 1 else None,
        fsc_after=fsc(first, second, mask).cpu(),
        axis=axis.cpu(),
        change=power_changed(before, after, axis, mask).cpu(),
        changed_well=well,
        changed_badly=badly,
        moved=rms_difference(before, after, mask),
        correlation=_correlation(before, after, mask),
        consistency=consistency(
            originals, (first, second), mask, prepared.measured.directions, prepared.measured.judged_shell
        ),
    )


def finish_of(options: CorrectOptions) -> Finish:
    """How the options put a network's map together with the data."""
    return Finish(
        combine=options.combination,
        apart=options.is_independent,
        prior_variance=options.prior_variance,
        keep_beyond=True,
        rotations=operators(options.symmetry),
    )


def _correlation(before: Tensor, after: Tensor, mask: Tensor | None) -> float:
    inside = torch.ones_like(before, dtype=torch.bool) if mask is None else mask > 0.5
    pair = torch.stack([before[inside], after[inside]]).double()
    return float(torch.corrcoef(pair)[0, 1])
