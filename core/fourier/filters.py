"""Radial filters of volumes: the linear-ramp and raised-cosine low-pass, and weighting by a 3DFSC's radial mean.

Curves are built per shell or per voxel radius and applied by one half-spectrum transform; voxel sizes in Angstrom.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .shells import expand, radial_mean, shell_of_resolution
from .transforms import apply_filter, box_size, check_spectrum, forward, inverse, radius


def ramp_curve(n: int, cutoff: float, edge: float, device: torch.device | str | None = None) -> Tensor:
    """Linear-ramp low-pass per shell, (n//2+1,): the "sphere filter" of spIsoNet.

    1 for shells i < cutoff - edge, (cutoff - i) / (edge + 1) up to the cutoff (pixels, a real number), 0 from there.
    """
    shell = torch.arange(n // 2 + 1, device=device, dtype=torch.float64)
    ramp = (cutoff - shell) / (edge + 1.0)
    curve = torch.where(shell < cutoff - edge, torch.ones_like(ramp), ramp)
    return torch.where(shell < cutoff, curve, torch.zeros_like(curve)).float()


def lowpass(volume: Tensor, voxel_size_A: float, resolution_A: float, edge: float = 3.0) -> Tensor:
    """Low-pass (..., n, n, n) by a linear ramp of `edge` shells that ends at `resolution_A`.

    Shells of the cube's corners are removed, as by the published method.
    """
    n = box_size(volume)
    curve = ramp_curve(n, shell_of_resolution(n, voxel_size_A, resolution_A), edge, volume.device)
    return apply_filter(volume, expand(curve, n).to(volume.dtype))


def lowpass_raised_cosine(volume: Tensor, voxel_size_A: float, resolution_A: float, width: int = 2) -> Tensor:
    """Low-pass (..., n, n, n) by a raised cosine `width` pixels wide, centred on the nearest shell of `resolution_A`.

    The gain follows each voxel's own radius, not its shell; with width 2 it is what
    `relion_image_handler --lowpass` does.
    """
    n = box_size(volume)
    centre = math.floor(shell_of_resolution(n, voxel_size_A, resolution_A) + 0.5)
    low = max(0.0, centre - width / 2)
    high = centre + width / 2
    phase = ((radius(n, volume.device) - low) / max(high - low, 1e-6)).clamp(0.0, 1.0)
    return apply_filter(volume, (0.5 + 0.5 * torch.cos(math.pi * phase)).to(volume.dtype))


def fsc_weight_curve(fsc3d: Tensor, n: int, form: Literal["plain", "sqrt"] = "plain") -> Tensor:
    """Radial weight, float64 (n//2+1,), of a 3DFSC volume (n, n, n//2+1): floor-binned mean w, negatives set to 0.

    `form="sqrt"` turns the half-map correlation w into that of the full map with the truth, sqrt(2 w / (1 + w))
    (Rosenthal & Henderson 2003, doi 10.1016/j.jmb.2003.07.013).
    """
    check_spectrum(fsc3d, n)
    weight = radial_mean(fsc3d, n, rounding="floor").clamp(min=0.0)
    if form == "sqrt":
        return (2.0 * weight / (1.0 + weight)).sqrt()
    return weight


def fsc_weight(volume: Tensor, fsc3d: Tensor, form: Literal["plain", "sqrt"] = "plain") -> Tensor:
    """Weight (..., n, n, n) shell by shell by the radial mean of its 3DFSC (n, n, n//2+1).

    Where the 3DFSC ends (its limit shell) the weight is 0, so this is a low-pass too.
    """
    n = box_size(volume)
    curve = fsc_weight_curve(fsc3d, n, form)
    return inverse(forward(volume) * expand(curve.to(volume.dtype), n, rounding="floor"), n)
