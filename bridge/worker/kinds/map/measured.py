"""Two half-maps on a device and how far they agree: what most kinds begin with."""

from __future__ import annotations

import dataclasses
import math

import torch

from cryobridge.core.directional import HALF_ANGLE_DEG, fsc3d, sphericity
from cryobridge.core.fourier import dips, last_shell, limit_shell, resolution
from cryobridge.core.relion import pair_quality
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.half_maps import Form, HalfMapInputs

from ...jobs.limits import within_grid
from ...jobs.volumes import Pair
from ...report import readings

MASK_HURTS = (
    "The FSC inside the mask is worse than without it, so all that is quoted here was measured without it; does the "
    "mask cover the particle?"
)
STATEMENT = "The values are true as far as the two half-maps were made independently of each other."


class Measured:
    """Two half-maps on a device, how far they agree, and how far a job goes.

    Attributes
    ----------
    half1, half2, mask
        (n, n, n) on the device; the mask may be None.
    curves
        FSC by name, (n // 2 + 1,) each: unmasked and, with a mask, masked, randomised and corrected for the mask.
    curve
        The one that is quoted.
    resolution_A
        Where it falls below 0.143; infinite where the halves never agree.
    mask_hurts
        Whether the mask makes the resolution worse; all is quoted without it then.
    randomised_from
        Shell from which phases were randomised; None without a mask, or where the FSC is too high to randomise.
    directions
        The same by direction, as all kinds of jobs quote it.
    limit_A, limit_shell
        Up to where the job goes: as chosen, else the resolution; never beyond what the half-maps hold.
    position
        Where the half-maps lie, and every map that is made of them.
    remarks
        What a reader must know of the half-maps and their FSC, in sentences.

    Raises
    ------
    InputInvalid
        If the limit is beyond what the voxels or the box can hold, or if none was chosen and the halves agree at no
        resolution.
    """

    def __init__(
        self,
        pair: Pair,
        inputs: HalfMapInputs,
        device: torch.device,
        limit_A: float | None,
        *,
        half_angle_deg: float = HALF_ANGLE_DEG,
        seed: int = 0,
    ) -> None:
        self.half1, self.half2 = pair.half1.data.to(device), pair.half2.data.to(device)
        self.mask = None if pair.mask is None else pair.mask.data.to(device)
        self.position = pair.position
        if limit_A is not None:
            limit_A = within_grid("limit_resolution_A", limit_A, inputs.half1, pair.box, pair.voxel_size_A)
        quality = pair_quality(
            self.half1, self.half2, self.mask, pair.voxel_size_A, half_angle_deg=half_angle_deg, seed=seed
        )
        found = quality.agreement
        names = ("unmasked",) if self.mask is None else ("unmasked", "masked", "randomised", "corrected")
        self.curves = {name: getattr(found.curves, name) for name in names}
        self.curve, self.mask_hurts, self.randomised_from = (
            pair.held(found.used),
            found.mask_hurts,
            found.curves.randomised_from,
        )
        # Beyond what the half-maps hold there is only what a mask smears there, in every direction.
        self.resolution_A = max(quality.resolution_A, pair.held_A)
        reached_A = quality.directions.resolutions_A.clamp(min=pair.held_A)
        self.directions = dataclasses.replace(quality.directions, resolutions_A=reached_A)
        self.voxel_size_A = pair.voxel_size_A
        self.remarks = [*pair.remarks, *curve_remarks(self.curve, pair)]
        self.limit_A = self.resolution_A if limit_A is None else max(limit_A, pair.held_A)
        if math.isinf(self.limit_A):
            raise InputInvalid(
                f"{inputs.half1} and {inputs.half2} agree at no resolution (FSC below 0.143 in shell 1); check "
                "that they belong together, or give limit_resolution_A"
            )
        self.limit_shell = limit_shell(pair.box, pair.voxel_size_A, self.limit_A)

    @property
    def randomised_from_A(self) -> float | None:
        """Resolution from which phases were randomised."""
        return None if self.randomised_from is None else self.half1.shape[-1] * self.voxel_size_A / self.randomised_from

    @property
    def judged_shell(self) -> int:
        """Last shell in which the half-maps agree and the job goes."""
        n = self.half1.shape[-1]
        agree = 0 if math.isinf(self.resolution_A) else round(n * self.voxel_size_A / self.resolution_A)
        return min(agree, last_shell(n, self.voxel_size_A, self.limit_A))

    def tensors(self) -> list[torch.Tensor]:
        """All of it that lies on the device."""
        return [self.half1, self.half2, self.curve, *([] if self.mask is None else [self.mask])]

    def fsc3d(self, half_angle_deg: float, form: Form, *, keep_high_resolution: bool = False) -> torch.Tensor:
        """Return the 3DFSC up to the limit, (n, n, n // 2 + 1)."""
        return fsc3d(
            self.half1,
            self.half2,
            self.mask,
            limit_shell=self.limit_shell,
            half_angle_deg=half_angle_deg,
            form=form,
            keep_high_resolution=keep_high_resolution,
        )


def curve_remarks(curve: torch.Tensor, pair: Pair) -> list[str]:
    """What must be said of the FSC (n // 2 + 1,) of a pair: where it dips, and where it never falls."""
    at_A = pair.box * pair.voxel_size_A
    lines = [
        f"The FSC dips below 0.143 at {at_A / first:.4g} A (shell {first}{'' if first == last else f' to {last}'}) and "
        "is well above it again further out: the resolution is where it falls for good. A zero of the CTF, ice or a "
        "membrane may spoil a shell; fsc.csv has the curve."
        for first, last in dips(curve)
    ]
    reading = readings.fsc(resolution(curve, pair.voxel_size_A, box=pair.box), pair.voxel_size_A, float(curve[-1]))
    # Halves that agree nowhere are for each kind to refuse or to report.
    if reading.warns and float(curve[1]) >= 0.143:
        lines.append(str(reading))
    return lines


def sphericity_or_none(fsc3d_volume: torch.Tensor) -> float | None:
    """Sphericity at 0.5 of a 3DFSC (n, n, n // 2 + 1).

    None below the threshold from the first shell on, where there is no body to speak of.
    """
    try:
        return round(sphericity(fsc3d_volume), 4)
    except ValueError:
        return None
