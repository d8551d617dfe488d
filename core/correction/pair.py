"""Two half-maps ready for a correction: what networks learn from, and what their maps are put together with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..directional import DEFAULT_HALF_ANGLE_DEG, Form, fsc3d
from ..fourier import (
    apply_filter,
    combine,
    expand,
    fsc_weight,
    limit_shell,
    lowpass,
    ramp_curve,
    shell_of_resolution,
    whiten,
    within_limit,
)
from ..volume import symmetrise_spectrum
from .posterior import gain_from_fsc
from .sight import LIMIT_OF_NYQUIST, Sight, levelled_sight
from .signal import SignalShare, ToldBy, signal_share

TrainingWeight = Literal["fsc3d", "c_ref", "none"]
_REFERENCE_EDGE_SHELLS = 5.0


@dataclass(frozen=True)
class LowResolutions:
    """Maps (n, n, n) whose low resolutions take the place of those of each half-map, up to `resolution_A`."""

    maps: tuple[Tensor | None, Tensor | None]
    resolution_A: float


@dataclass(frozen=True)
class Regularised:
    """What a refinement program has made of the same sums: its maps (n, n, n), and gains (n, n, n // 2 + 1)."""

    standards: tuple[Tensor, Tensor]
    gains: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Plan:
    """How two half-maps are prepared.

    limit_A
        Up to where the correction goes.
    whiten_from_A
        Level the spectrum from here to the limit before networks see it; None leaves it.
    low_pass
        Low-pass at the limit what networks see.
    low
        Low resolutions that replace the half-maps' own, or None.
    measure_prepared
        Measure the 3DFSC after whitening and replacing, as spIsoNet does inside RELION, instead of before.
    half_angle_deg, form
        Of the 3DFSC that says how well a voxel is measured.
    given_fsc3d
        (n, n, n // 2 + 1) that takes its place.
    weighting, given_weight
        Where nothing is levelled, how much a voxel counts in training: by the 3DFSC f itself, by C_ref =
        sqrt(2 f / (1 + f)), all alike up to the limit; or by a weight (n, n, n // 2 + 1) of its own.
    level
        Show networks Wiener-filtered halves with a level spectrum (`core.correction.level`), Fourier-cropped to the
        limit, and let a voxel count by the C_ref of what `core.correction.signal` tells.
    limit_of_nyquist
        Where the limit lies in that smaller box.
    given_fraction
        (n, n, n // 2 + 1) in [0, 1), that tells it instead: the gain of a program's own Wiener filter.
    radial_weight
        Weight what networks see shell by shell too.
    apart
        Let neither half tell how the other is scaled.
    rotations
        Point group (g, 3, 3) that is imposed on what is known of directions, or None.
    """

    limit_A: float
    whiten_from_A: float | None = None
    low_pass: bool = False
    low: LowResolutions | None = None
    measure_prepared: bool = False
    half_angle_deg: float = 10.0
    form: Form = "phase_cosine"
    given_fsc3d: Tensor | None = None
    weighting: TrainingWeight = "fsc3d"
    given_weight: Tensor | None = None
    given_fraction: Tensor | None = None
    level: bool = False
    limit_of_nyquist: float = LIMIT_OF_NYQUIST
    radial_weight: bool = False
    apart: bool = False
    rotations: Tensor | None = None


@dataclass(frozen=True)
class ReadyPair:
    """Two half-maps ready for a correction. Maps (n, n, n), spectra (n, n, n // 2 + 1), all on one device.

    halves
        As they were given.
    sight
        What networks see of them and learn from.
    standards, gains
        What there would be without a network, and the gain in [0, 1) of each voxel's Wiener filter.
    fsc3d
        How well each voxel is measured, in [0, 1].
    mask
        Or None, where the whole box counts.
    told_by
        What told how much of a voxel is signal; None where only the 3DFSC was asked.
    filtered
        Whether the half-maps turned out to be regularised already.
    """

    halves: tuple[Tensor, Tensor]
    sight: Sight
    standards: tuple[Tensor, Tensor]
    gains: tuple[Tensor, Tensor]
    fsc3d: Tensor
    mask: Tensor | None
    voxel_size_A: float
    limit_A: float
    told_by: ToldBy | None = None
    filtered: bool = False

    @property
    def box(self) -> int:
        """Voxels along each axis."""
        return self.fsc3d.shape[0]

    def tensors(self) -> list[Tensor]:
        """All of it that lies on the device: maps (n, n, n), spectra (n, n, n // 2 + 1)."""
        pairs = (*self.halves, *self.standards, *self.gains)
        return [*pairs, *self.sight.tensors(), self.fsc3d, *([] if self.mask is None else [self.mask])]


def prepare(
    halves: tuple[Tensor, Tensor],
    mask: Tensor | None,
    voxel_size_A: float,
    plan: Plan,
    regularised: Regularised | None = None,
) -> ReadyPair:
    """Prepare two half-maps for a correction.

    Parameters
    ----------
    halves
        (n, n, n) each, not regularised.
    mask
        (n, n, n), 0 to 1, or None.
    voxel_size_A
        Of the maps.
    plan
        What is done, and in which order.
    regularised
        What the result is put together with; made from the half-maps and their 3DFSC where a program has left none.
    """
    bases, starts = halves, halves
    if plan.measure_prepared and not plan.level:
        bases = starts = _with_low(_whitened(halves, mask, voxel_size_A, plan), mask, voxel_size_A, plan.low)
    signed = plan.given_fsc3d
    if signed is None:
        signed = _measured(starts, mask, voxel_size_A, plan, plan.half_angle_deg, plan.form)
    signed = _symmetric(signed, plan.rotations)
    told = _told(halves, mask, voxel_size_A, plan)
    gain = None
    if regularised is None:
        gain = _gain(halves, mask, voxel_size_A, plan) if told is None else told.fraction
    if plan.level or not plan.measure_prepared:
        bases = _with_low(halves, mask, voxel_size_A, plan.low)
        signed, gain = _with_known(signed, gain, voxel_size_A, plan.low)
    if told is not None:
        sight = _levelled(bases, told, mask, voxel_size_A, plan)
    else:
        sight = _sight(starts if plan.measure_prepared else None, bases, mask, signed, voxel_size_A, plan)
    if regularised is None:
        assert gain is not None  # noqa: S101 - made above in this very case
        regularised = _regularised(bases, gain, voxel_size_A, plan.limit_A, filtered=told is not None and told.filtered)
    return ReadyPair(
        halves=halves,
        sight=sight,
        standards=regularised.standards,
        gains=regularised.gains,
        # Where the halves contradict each other nothing is measured.
        fsc3d=signed.clamp(0.0, 1.0),
        mask=mask,
        voxel_size_A=voxel_size_A,
        limit_A=plan.limit_A,
        told_by=None if told is None else told.told_by,
        filtered=told is not None and told.filtered,
    )


def prepared_inputs(
    halves: tuple[Tensor, Tensor], mask: Tensor | None, voxel_size_A: float, plan: Plan
) -> tuple[Tensor, Tensor]:
    """What networks see of two half-maps (n, n, n): low-passed, whitened, or as they are."""
    first, second = halves
    if plan.low_pass:
        first, second = (lowpass(half, voxel_size_A, plan.limit_A) for half in (first, second))
    return _whitened((first, second), mask, voxel_size_A, plan)


def training_weight(fsc3d: Tensor, weighting: TrainingWeight) -> Tensor:
    """How much each Fourier voxel counts in training, from a 3DFSC f (n, n, n // 2 + 1), not clipped at 0.

    f itself, or C_ref = sqrt(2 f / (1 + f)), the correlation of the mean of both half-maps with the truth (Rosenthal &
    Henderson 2003, doi 10.1016/j.jmb.2003.07.013): f alone takes away much that is still measured. When to clip f
    itself is for the training to say, see `crop_weight`.
    """
    if weighting == "fsc3d":
        return fsc3d
    well = fsc3d.clamp(0, 1)
    return (2 * well / (1 + well)).sqrt()


def _measured(
    halves: Sequence[Tensor],
    mask: Tensor | None,
    voxel_size_A: float,
    plan: Plan,
    half_angle_deg: float,
    form: Form,
) -> Tensor:
    n = halves[0].shape[-1]
    last = limit_shell(n, voxel_size_A, plan.limit_A)
    return fsc3d(halves[0], halves[1], mask, limit_shell=last, half_angle_deg=half_angle_deg, form=form)


def _gain(halves: tuple[Tensor, Tensor], mask: Tensor | None, voxel_size_A: float, plan: Plan) -> Tensor:
    if plan.given_fsc3d is not None:
        return _symmetric(gain_from_fsc(plan.given_fsc3d), plan.rotations)
    # The gain follows from the FSC proper. Over wider caps it is less noisy: nearer to the truth, measured.
    wide = _measured(halves, mask, voxel_size_A, plan, DEFAULT_HALF_ANGLE_DEG["sum_ratio"], "sum_ratio")
    return _symmetric(gain_from_fsc(wide), plan.rotations)


def _symmetric(spectrum: Tensor, rotations: Tensor | None) -> Tensor:
    return spectrum if rotations is None else symmetrise_spectrum(spectrum, rotations)


def _whitened(
    halves: tuple[Tensor, Tensor], mask: Tensor | None, voxel_size_A: float, plan: Plan
) -> tuple[Tensor, Tensor]:
    """Both halves with a level spectrum; else a loss, a mean over voxels, would hear of low resolutions only."""
    from_A = plan.whiten_from_A
    if from_A is None or plan.limit_A >= from_A:
        return halves
    first, second = (whiten(half, voxel_size_A, from_A, plan.limit_A, mask) for half in halves)
    return first, second


def _with_low(
    halves: tuple[Tensor, Tensor], mask: Tensor | None, voxel_size_A: float, low: LowResolutions | None
) -> tuple[Tensor, Tensor]:
    if low is None:
        return halves
    first, second = (
        half if one is None else combine(one, half, voxel_size_A, low.resolution_A, mask)
        for one, half in zip(low.maps, halves, strict=True)
    )
    return first, second


def _with_known(
    fsc3d: Tensor, gain: Tensor | None, voxel_size_A: float, low: LowResolutions | None
) -> tuple[Tensor, Tensor | None]:
    """What a reference brings counts as measured."""
    if low is None:
        return fsc3d, gain
    n = fsc3d.shape[0]
    edge = shell_of_resolution(n, voxel_size_A, low.resolution_A)
    known = expand(ramp_curve(n, edge, _REFERENCE_EDGE_SHELLS, fsc3d.device), n)
    return torch.maximum(fsc3d, known), None if gain is None else torch.maximum(gain, gain_from_fsc(known))


def _told(halves: tuple[Tensor, Tensor], mask: Tensor | None, voxel_size_A: float, plan: Plan) -> SignalShare | None:
    """How much of each voxel is signal, where networks are to see levelled maps; None where they are not."""
    if not plan.level:
        return None
    given = plan.given_fraction if plan.given_fsc3d is None else gain_from_fsc(plan.given_fsc3d)
    if given is not None:
        return SignalShare(_symmetric(given, plan.rotations), filtered=False, told_by="given")
    last = limit_shell(halves[0].shape[-1], voxel_size_A, plan.limit_A)
    return signal_share(halves, mask, last, plan.rotations)


def _levelled(
    bases: tuple[Tensor, Tensor], told: SignalShare, mask: Tensor | None, voxel_size_A: float, plan: Plan
) -> Sight:
    fraction, _ = _with_known(told.fraction, None, voxel_size_A, plan.low)
    last = limit_shell(fraction.shape[0], voxel_size_A, plan.limit_A)
    return levelled_sight(
        bases,
        fraction,
        mask,
        last,
        filtered=told.filtered,
        apart=plan.apart,
        limit_of_nyquist=plan.limit_of_nyquist,
    )


def _sight(
    prepared: tuple[Tensor, Tensor] | None,
    bases: tuple[Tensor, Tensor],
    mask: Tensor | None,
    signed: Tensor,
    voxel_size_A: float,
    plan: Plan,
) -> Sight:
    """What networks see where nothing is levelled: as published, or as the options of the training filter it."""
    starts = prepared_inputs(bases, mask, voxel_size_A, plan) if prepared is None else prepared
    weight = plan.given_weight if plan.given_weight is not None else _weight(signed, voxel_size_A, plan)
    if plan.radial_weight:
        starts = fsc_weight(starts[0], weight), fsc_weight(starts[1], weight)
    return Sight(starts, weight, mask)


def _regularised(
    bases: tuple[Tensor, Tensor], gain: Tensor, voxel_size_A: float, limit_A: float, *, filtered: bool
) -> Regularised:
    """What a Wiener filter leaves of both half-maps up to the limit."""
    within = within_limit(gain.shape[0], voxel_size_A, limit_A, gain.device)
    gain = gain * within
    first, second = (apply_filter(base, within if filtered else gain) for base in bases)
    return Regularised((first, second), (gain, gain))


def _weight(signed: Tensor, voxel_size_A: float, plan: Plan) -> Tensor:
    if plan.weighting == "none":
        return within_limit(signed.shape[0], voxel_size_A, plan.limit_A, signed.device)
    return training_weight(signed, plan.weighting)
