"""Two half-maps on a device and how far they agree: what most kinds begin with."""

from __future__ import annotations

import math

import torch

from cryobridge.core.directional import fsc3d, sphericity
from cryobridge.core.fourier import dips, fsc, limit_shell, resolution
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.half_maps import Form, HalfMapInputs

from ...jobs.limits import within_grid
from ...jobs.volumes import Pair
from ...report import readings

STATEMENT = "The values are true as far as the two half-maps were made independently of each other."


class Measured:
    """Two half-maps on a device, how far they agree, and how far a job goes.

    Attributes
    ----------
    half1, half2, mask
        (n, n, n) on the device; the mask may be None.
    curve
        FSC inside the mask by shell, (n // 2 + 1,).
    resolution_A
        Where it falls below 0.143; infinite where the halves never agree.
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

    def __init__(self, pair: Pair, inputs: HalfMapInputs, device: torch.device, limit_A: float | None) -> None:
        self.half1, self.half2 = pair.half1.data.to(device), pair.half2.data.to(device)
        self.mask = None if pair.mask is None else pair.mask.data.to(device)
        self.position = pair.position
        if limit_A is not None:
            limit_A = within_grid("limit_resolution_A", limit_A, inputs.half1, pair.box, pair.voxel_size_A)
        self.curve = pair.held(fsc(self.half1, self.half2, self.mask))
        self.resolution_A = resolution(self.curve, pair.voxel_size_A, 0.143, box=pair.box)
        self.remarks = [*pair.remarks, *curve_remarks(self.curve, pair)]
        self.limit_A = self.resolution_A if limit_A is None else max(limit_A, pair.held_A)
        if math.isinf(self.limit_A):
            raise InputInvalid(
                f"{inputs.half1} and {inputs.half2} agree at no resolution (FSC below 0.143 in shell 1); check "
                "that they belong together, or give limit_resolution_A"
            )
        self.limit_shell = limit_shell(pair.box, pair.voxel_size_A, self.limit_A)

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
