"""`map.correct`: the maps that are made for looking at, treated alike before and after, so that they compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from cryobridge.core.correction import restored_amplitudes
from cryobridge.core.fourier import last_shell, lowpass
from cryobridge.core.relion import Sharpened, agreement, sharpen
from cryobridge.schemas.kinds.map.correct import CorrectOptions

from .outputs import CorrectedPair
from .prepare import Prepared

BEFORE, AFTER = "input_postprocessed.mrc", "postprocessed.mrc"
PLAIN_BEFORE, PLAIN_AFTER = "input_lowpassed.mrc", "corrected_lowpassed.mrc"
DISPLAY = "corrected_for_display.mrc"
SHARPEN_FROM_A = 7.0
"""Ours: the line of a Guinier plot begins at 10 A; one that ends before this spans too little of 1/d^2 to be one."""
STRONGEST_A2 = -400.0
"""Ours: B-factors of published maps lie from about -30 to -300 A^2; a stronger one blows noise up."""
DISPLAY_LABEL = "cryobridge: FOR DISPLAY ONLY, amplitudes restored; no FSC, no refinement"
DISPLAY_STATEMENT = (
    f"{DISPLAY} is for looking at only: its amplitudes in badly measured directions were raised towards those of well "
    "measured ones. Its error is larger than that of corrected.mrc; neither an FSC nor a refinement may use it."
)


@dataclass(frozen=True)
class LookingMaps:
    """Maps (n, n, n) by file name: the mean of the inputs first, then the corrected one, then what was asked for.

    sharpened
        How the corrected one was sharpened; None where it was only low-passed.
    complaints
        What went otherwise than was asked for.
    """

    maps: dict[str, Tensor]
    sharpened: Sharpened | None = None
    complaints: list[str] = field(default_factory=list)


def looking_maps(options: CorrectOptions, prepared: Prepared, found: CorrectedPair) -> LookingMaps:
    """Make the maps that a user opens first.

    With `postprocess`, weighted by the FSC of the input halves and sharpened by one B-factor, the same for all; where
    none can be had, only weighted; where that cannot be done either, or was not asked for, low-passed at the limit.
    """
    device, voxel_A = prepared.fsc3d.device, prepared.pair.voxel_size_A
    half1, half2 = prepared.originals
    corrected, mean = found.mean.to(device), (half1 + half2) / 2
    sharpened, complaints = None, list[str]()
    treat = partial(lowpass, voxel_size_A=voxel_A, resolution_A=prepared.limit_A)
    if options.postprocess:
        # The corrected halves may not be independent; how much of each shell is signal is told by those before.
        curve = agreement(half1, half2, prepared.mask, seed=options.seed).used
        sharpened, complaints = _sharpened(corrected, curve, prepared)
        if sharpened is not None:
            treat = partial(_like, sharpened=sharpened, curve=curve, voxel_size_A=voxel_A)
    names = (PLAIN_BEFORE, PLAIN_AFTER) if sharpened is None else (BEFORE, AFTER)
    maps = {names[0]: treat(mean), names[1]: treat(corrected)}
    if options.display_map:
        last = last_shell(prepared.pair.box, voxel_A, prepared.limit_A)
        maps[DISPLAY] = treat(restored_amplitudes(corrected, half1, half2, prepared.fsc3d, last, prepared.mask))
    return LookingMaps({name: volume.cpu() for name, volume in maps.items()}, sharpened, complaints)


def _sharpened(corrected: Tensor, curve: Tensor, prepared: Prepared) -> tuple[Sharpened | None, list[str]]:
    """The sharpened map, or the best that can be had, and what to say of it."""
    make = partial(sharpen, corrected, curve, prepared.pair.voxel_size_A, low_pass_A=prepared.limit_A)
    why = f"the half-maps go to {prepared.limit_A:.2f} A, too little for a B-factor to be fitted from 10 A on"
    if prepared.limit_A <= SHARPEN_FROM_A:
        try:
            made = make()
            fitted = made.b_factor_A2
            if fitted is not None and STRONGEST_A2 <= fitted <= 0:
                return made, []
            why = f"the fitted B-factor is {fitted:.0f} A^2, which is none of a map"
        except ValueError as error:
            why = str(error)
    try:
        return make(sharpening="none"), [f"{AFTER} is weighted by the FSC, but not sharpened: {why}."]
    except ValueError as error:
        return None, [f"No sharpened map could be made: {error}. {PLAIN_AFTER} is low-passed at the limit instead."]


def _like(volume: Tensor, sharpened: Sharpened, curve: Tensor, voxel_size_A: float) -> Tensor:
    """A map weighted, sharpened and low-passed as another one was."""
    made = sharpen(
        volume,
        curve,
        voxel_size_A,
        sharpening="none" if sharpened.b_factor_A2 is None else "b_factor",
        b_factor_A2=sharpened.b_factor_A2,
        low_pass_A=sharpened.low_pass_A,
    )
    return made.volume
