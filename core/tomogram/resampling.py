"""Volumes on a finer or coarser grid by crop or padding of their transform, axis by axis.

Values stay as large as they are. Where an axis gets shorter, all beyond the new Nyquist is left out, so nothing is
aliased; where it gets longer again, what is within it comes back exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .volume_blocks import mirrored_places

_LEAST_PADDING, _MOST_PADDING = 16, 48


def resampled(volume: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A real volume on another grid that covers the same length along each axis; float32.

    Parameters
    ----------
    volume
        Any number of axes, as (nz, ny, nx).
    shape
        The new one; each axis longer, shorter or as it is, even or odd.

    Raises
    ------
    ValueError
        If the shape has another number of axes, or an axis below 1.
    """
    if len(shape) != volume.dim() or min(shape) < 1:
        raise ValueError(f"a volume of {tuple(volume.shape)} on a grid of {shape}")
    found = volume.float()
    # The axes that get shorter go first: less is left for the others to do.
    for axis in sorted(range(volume.dim()), key=lambda one: shape[one] / volume.shape[one]):
        found = resampled_along(found, axis, shape[axis])
    return found


def resampled_along(volume: Tensor, axis: int, size: int) -> Tensor:
    """A real volume (..., n, ...) with `size` voxels along one axis over the same length; float32.

    The frequency at the Nyquist of an even axis is shared by its two signs: halved where it gets two places, put
    together where it gets one, so that making an axis longer and shorter again changes nothing.
    """
    old = volume.shape[axis]
    if old == size:
        return volume.float()
    spectrum = torch.fft.rfft(volume.float(), dim=axis)
    shorter = min(old, size)
    kept = spectrum.narrow(axis, 0, shorter // 2 + 1)
    if shorter % 2 == 0:
        kept = kept.clone()
        # Of the shorter axis: a real cosine, which in the longer axis is two frequencies with half each.
        nyquist = kept.narrow(axis, shorter // 2, 1)
        if size > old:
            nyquist *= 0.5
        else:
            nyquist.copy_((2.0 * nyquist.real).to(nyquist.dtype))
    found: Tensor = torch.fft.irfft(kept, n=size, dim=axis).mul_(size / old)
    return found


@dataclass(frozen=True)
class AxisPlan:
    """How one axis of a volume gets a voxel size that no whole number of voxels would give.

    Attributes
    ----------
    size
        Its voxels.
    padded
        How long it is made before, at its end.
    new
        Voxels that `padded` ones become.
    kept
        How many of these stand for the axis itself.
    """

    size: int
    padded: int
    new: int
    kept: int

    @property
    def ratio(self) -> float:
        """New voxel size over old, as it comes out."""
        return self.padded / self.new


def axis_plan(size: int, ratio: float) -> AxisPlan:
    """Plan an axis.

    Parameters
    ----------
    size
        Its voxels.
    ratio
        New voxel size over old.

    Returns
    -------
    AxisPlan
        Padded by 16 to 48 voxels: the length whose new voxels come nearest to the size that is wanted; the shortest of
        equals. As it is if the ratio is 1.
    """
    if ratio == 1.0:
        return AxisPlan(size, size, size, size)

    def error(length: int) -> float:
        new = length / ratio
        return round(abs(max(1, round(new)) / new - 1.0), 9)

    lengths = range(size + _LEAST_PADDING, size + _MOST_PADDING + 1)
    padded = min(lengths, key=lambda length: (error(length), length))
    new = max(1, round(padded / ratio))
    return AxisPlan(size, padded, new, min(new, max(1, round(size / ratio))))


def resampled_by_plan(volume: Tensor, axis: int, plan: AxisPlan) -> Tensor:
    """A volume (..., n, ...) on another grid along one axis, its first voxel where it was; float32.

    For a transform the end of the axis lies beside its start: the padding leads from one to the other, so that neither
    rings in the other.
    """
    more = plan.padded - plan.size
    if more == 0:
        return resampled_along(volume, axis, plan.new).narrow(axis, 0, plan.kept)
    lines = volume.float().movedim(axis, -1)
    steps = torch.arange(more, device=volume.device)
    end = lines[..., mirrored_places(plan.size, plan.padded, plan.size).to(volume.device)]
    start = lines[..., mirrored_places(-more, 0, plan.size).to(volume.device)]
    fade = 0.5 + 0.5 * torch.cos(torch.pi * (steps + 1) / (more + 1))
    padded = torch.cat([lines, fade * end + (1.0 - fade) * start], dim=-1)
    return resampled_along(padded, -1, plan.new)[..., : plan.kept].movedim(-1, axis)
