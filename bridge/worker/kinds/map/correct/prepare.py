"""`map.correct`, first part: what the networks are given, and how well each Fourier voxel is measured."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.correction import gain_from_fsc
from cryobridge.core.directional import DEFAULT_HALF_ANGLE_DEG
from cryobridge.core.fourier import (
    combine,
    expand,
    half_of_centred,
    lowpass,
    radius,
    ramp_curve,
    shell_index,
    shell_of_resolution,
    whiten,
)
from cryobridge.core.volume import operators, soft_sphere, solvent_mask, symmetrise_spectrum
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.map.correct import CorrectOptions, MapCorrectJob

from ....jobs.volumes import Pair, Volume, read_map, read_pair, read_spectrum
from ..measured import Measured

_REFERENCE_EDGE_SHELLS = 5.0
WHITEN_FROM_A = 10.0
_LEAST_MASKED, _MOST_MASKED = 0.005, 0.4
"""Shares of the box; a made mask outside them did not find the particle."""


@dataclass(frozen=True)
class Prepared:
    """Two half-maps ready for training. Tensors are on the device, maps (n, n, n), spectra (n, n, n // 2 + 1).

    measured
        The half-maps as they were read, their mask, FSC and limit.
    bases
        The half-maps, with a reference's low resolutions where there is one: what the networks' maps go into.
    starts
        The same low-passed or whitened: what the networks see.
    fsc3d
        How well each Fourier voxel is measured, in [0, 1].
    weight
        What the training goes by: the 3DFSC, or ones up to the limit.
    gain
        Gain of each voxel's Wiener filter, in [0, 1); 0 beyond the limit.
    mask_made, fsc3d_given
        Whether the mask was made here, and the 3DFSC read from a file.
    limit_A
        Up to where the networks' maps count.
    choices
        What was decided here and a user should know, in sentences.
    """

    pair: Pair
    measured: Measured
    bases: tuple[Tensor, Tensor]
    starts: tuple[Tensor, Tensor]
    fsc3d: Tensor
    weight: Tensor
    gain: Tensor
    limit_A: float
    mask_made: bool
    fsc3d_given: bool
    choices: list[str] = field(default_factory=list)

    @property
    def originals(self) -> tuple[Tensor, Tensor]:
        """Both half-maps as they were read."""
        return self.measured.half1, self.measured.half2

    @property
    def mask(self) -> Tensor | None:
        """The mask, or None where the whole box counts."""
        return self.measured.mask


def prepare(job: MapCorrectJob, device: torch.device) -> Prepared:
    """Read the inputs of a job and measure them.

    Raises
    ------
    InputInvalid
        If an input cannot be used, or the half-maps agree at no resolution.
    """
    options, inputs, choices = job.options, job.inputs, list[str]()
    pair = read_pair(inputs)
    mask_made = pair.mask is None and options.method == "improved"
    if mask_made:
        pair = dataclasses.replace(pair, mask=_made_mask(pair, job.output / "mask.mrc", choices))
    voxel_A, n = pair.voxel_size_A, pair.box
    measured = Measured(pair, inputs, device, options.limit_resolution_A)
    limit_A = measured.limit_A
    if inputs.fsc3d is None:
        fsc3d = measured.fsc3d(options.half_angle_deg, "phase_cosine").clamp(0.0, 1.0)
        # The gain follows from the FSC proper. Over wider caps it is less noisy: nearer to the truth, measured.
        gain = gain_from_fsc(measured.fsc3d(DEFAULT_HALF_ANGLE_DEG["sum_ratio"], "sum_ratio"))
    else:
        fsc3d = _given_fsc3d(inputs.fsc3d, pair.half1, device)
        gain = gain_from_fsc(fsc3d)
        ends_A = n * voxel_A / (float(radius(n, device)[fsc3d > 0].max()) + 1)
        if ends_A > limit_A * (1 + 1 / n):
            choices.append(f"{inputs.fsc3d} ends at {ends_A:.2f} A, so the correction ends there too.")
            limit_A = ends_A
    rotations = operators(options.symmetry)
    fsc3d, gain = symmetrise_spectrum(fsc3d, rotations), symmetrise_spectrum(gain, rotations)
    bases = measured.half1, measured.half2
    if inputs.reference is not None:
        reference, reference_A = read_map(inputs.reference, like=pair.half1), options.reference_resolution_A
        bases = _with_reference(bases, reference.data.to(device), voxel_A, reference_A, measured.mask)
        known = expand(ramp_curve(n, shell_of_resolution(n, voxel_A, reference_A), _REFERENCE_EDGE_SHELLS, device), n)
        fsc3d, gain = torch.maximum(fsc3d, known), torch.maximum(gain, gain_from_fsc(known))
    within = within_limit(n, voxel_A, limit_A, device)
    return Prepared(
        pair=pair,
        measured=measured,
        bases=bases,
        starts=network_inputs(bases, options, voxel_A, limit_A, measured.mask),
        fsc3d=fsc3d,
        weight=within if options.weighting == "none" else training_weight(fsc3d, options),
        gain=gain * within,
        limit_A=limit_A,
        mask_made=mask_made,
        fsc3d_given=inputs.fsc3d is not None,
        choices=choices,
    )


def training_weight(fsc3d: Tensor, options: CorrectOptions) -> Tensor:
    """How much each Fourier voxel counts in training, from a 3DFSC f (n, n, n // 2 + 1).

    f itself, or C_ref = sqrt(2 f / (1 + f)), the correlation of the mean of both half-maps with the truth (Rosenthal &
    Henderson 2003, doi 10.1016/j.jmb.2003.07.013): f alone takes away much that is still measured.
    """
    return fsc3d if options.weighting == "fsc3d" else (2 * fsc3d / (1 + fsc3d)).sqrt()


def within_limit(n: int, voxel_A: float, limit_A: float, device: torch.device) -> Tensor:
    """1 in the shells up to the limit, 0 beyond; (n, n, n // 2 + 1)."""
    return (shell_index(n, device) <= last_shell(n, voxel_A, limit_A)).float()


def last_shell(n: int, voxel_A: float, limit_A: float) -> int:
    """The last shell within the limit."""
    return min(math.floor(n * voxel_A / limit_A + 1e-6), n // 2)


def whitened(options: CorrectOptions, limit_A: float) -> bool:
    """Whether the networks see whitened halves."""
    return options.whitens and limit_A < WHITEN_FROM_A


def network_inputs(
    halves: tuple[Tensor, Tensor], options: CorrectOptions, voxel_A: float, limit_A: float, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What networks see of two half-maps (n, n, n): low-passed as published, or whitened."""
    first, second = halves
    if options.method == "published":
        first, second = (lowpass(half, voxel_A, limit_A) for half in (first, second))
    if whitened(options, limit_A):
        # Without it the loss, a mean over voxels of the map, would hear of low resolutions only.
        first, second = (whiten(half, voxel_A, WHITEN_FROM_A, limit_A, mask) for half in (first, second))
    return first, second


def _with_reference(
    halves: tuple[Tensor, Tensor], reference: Tensor, voxel_A: float, resolution_A: float, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    first, second = (combine(reference, half, voxel_A, resolution_A, mask) for half in halves)
    return first, second


def _given_fsc3d(path: Path, like: Volume, device: torch.device) -> Tensor:
    half = half_of_centred(read_spectrum(path, like).data.to(device)).clamp(0.0, 1.0)
    inner, outer = radius(like.box, device) < 2, radius(like.box, device) >= like.box // 2 - 1
    if float(half[inner].mean()) <= float(half[outer].mean()):
        raise InputInvalid(
            f"{path}: it is no larger at the centre of its box than at the edges; a 3DFSC with the origin at the "
            "centre is needed, as FSC3D.mrc of map.fsc3d"
        )
    return half


def _made_mask(pair: Pair, path: Path, choices: list[str]) -> Volume:
    """A solvent mask of both halves together or, where that does not find a particle, a soft sphere."""
    n = pair.box
    try:
        smooth_A = max(15.0, 4 * pair.voxel_size_A)
        mask = solvent_mask((pair.half1.data + pair.half2.data) / 2, pair.voxel_size_A, lowpass_A=smooth_A)
        share = float(mask.mean())
        if not _LEAST_MASKED <= share <= _MOST_MASKED:
            raise ValueError(f"it covers {share:.1%} of the box")
        choices.append("No mask was given: a solvent mask was made from the mean of the half-maps, mask.mrc.")
    except ValueError as error:
        edge = min(5.0, n / 8)
        mask = soft_sphere(n, n / 2 - 1 - edge, edge)
        choices.append(f"No mask was given and none could be made ({error}): a soft sphere is used, mask.mrc.")
    return Volume(path, mask, pair.voxel_size_A)
