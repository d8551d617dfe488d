"""Masks of volumes: soft spheres, soft edges around binary masks, and an automatic solvent mask from a map.

All lengths are in voxels except where the name says Angstrom. Masks are float32 between 0 and 1.
"""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Tensor

from ..fourier import box_size, lowpass_raised_cosine


def _distance_from_centre(n: int, device: torch.device | str | None) -> Tensor:
    """Distance in voxels from voxel n//2, (n, n, n)."""
    axis = torch.arange(n, device=device, dtype=torch.float32) - n // 2
    return (axis.view(n, 1, 1) ** 2 + axis.view(1, n, 1) ** 2 + axis.view(1, 1, n) ** 2).sqrt()


def _cosine_fall(distance: Tensor, width: float) -> Tensor:
    """1 at distance <= 0, 0 at distance >= width, raised cosine between; a step for width 0."""
    if width <= 0:
        return (distance <= 0).float()
    return 0.5 + 0.5 * torch.cos(math.pi * (distance / width).clamp(0.0, 1.0))


def soft_sphere(n: int, radius: float, edge: float, device: torch.device | str | None = None) -> Tensor:
    """Sphere about voxel n//2, (n, n, n): 1 up to `radius`, raised cosine to 0 at `radius + edge`."""
    return _cosine_fall(_distance_from_centre(n, device) - radius, edge)


def distance_to(binary: Tensor, reach: int) -> Tensor:
    """Euclidean distance in voxels to the nearest True voxel, (d, h, w); exact up to `reach`, inf beyond.

    The squared distance is a minimum over offsets that separates into one pass per axis, so it needs no sorting
    and runs on any device.
    """
    squared = torch.where(binary, 0.0, math.inf).float()
    for axis in range(3):
        nearest = squared.clone()
        size = squared.shape[axis]
        for step in range(1, min(reach, size - 1) + 1):
            cost = float(step * step)
            head, tail = nearest.narrow(axis, 0, size - step), nearest.narrow(axis, step, size - step)
            torch.minimum(head, squared.narrow(axis, step, size - step) + cost, out=head)
            torch.minimum(tail, squared.narrow(axis, 0, size - step) + cost, out=tail)
        squared = nearest
    return torch.where(squared <= reach * reach, squared.sqrt(), math.inf)


def soft_edge(binary: Tensor, width: float, extend: float = 0.0) -> Tensor:
    """Mask (d, h, w) that is 1 within `extend` voxels of `binary` and falls to 0 over `width` more voxels.

    `binary` is bool, or a number where more than 0.5 counts as inside.
    """
    inside = binary if binary.dtype == torch.bool else binary > 0.5
    reach = math.ceil(width + extend)
    if reach == 0:
        return inside.float()
    return _cosine_fall(distance_to(inside, reach) - extend, width)


def otsu_threshold(values: Tensor, bins: int = 256) -> float:
    """Threshold that separates values (k,), or of any other shape, best into two classes.

    References
    ----------
    Otsu 1979, doi 10.1109/TSMC.1979.4310076.
    """
    low, high = float(values.min()), float(values.max())
    if not low < high:
        raise ValueError(f"no threshold separates {values.numel()} equal values")
    position = ((values.reshape(-1).double() - low) * (bins / (high - low))).long().clamp(max=bins - 1)
    count = torch.bincount(position, minlength=bins).double()
    centre = torch.arange(bins, device=values.device, dtype=torch.float64) + 0.5
    below = count.cumsum(0)
    above = below[-1] - below
    moment = (count * centre).cumsum(0)
    mean_below = moment / below.clamp(min=1.0)
    mean_above = (moment[-1] - moment) / above.clamp(min=1.0)
    best = int((below * above * (mean_below - mean_above) ** 2).argmax())
    return low + (best + 1) * (high - low) / bins


def _largest_components(binary: Tensor, smallest_share: float) -> Tensor:
    """Connected parts (6 neighbours) of at least `smallest_share` of the largest part's size."""
    labels, count = ndimage.label(binary.cpu().numpy())
    if count <= 1:
        return binary
    part = torch.from_numpy(labels).long().to(binary.device)
    sizes = torch.bincount(part.reshape(-1))
    sizes[0] = 0
    keep = sizes >= smallest_share * int(sizes.max())
    keep[0] = False
    return keep[part]


def solvent_mask(
    volume: Tensor,
    voxel_size_A: float,
    *,
    lowpass_A: float = 15.0,
    threshold: float | None = None,
    extend: float = 3.0,
    edge: float = 6.0,
    smallest_share: float = 0.1,
) -> Tensor:
    """Make a soft solvent mask (n, n, n) from a map (n, n, n).

    The map is low-passed, cut at `threshold` (in the map's units; Otsu's within the inscribed sphere by
    default), islands smaller than `smallest_share` of the largest are dropped, and what is left is extended and
    given a soft edge (voxels).

    Raises
    ------
    ValueError
        When the map is constant or not finite, so that nothing tells the particle from the solvent.
    """
    n = box_size(volume)
    if not bool(torch.isfinite(volume).all()):
        raise ValueError("the map holds values that are not finite; no mask can be made from it")
    smooth = lowpass_raised_cosine(volume.float(), voxel_size_A, max(lowpass_A, 2.0 * voxel_size_A))
    inside = _distance_from_centre(n, volume.device) < n / 2
    cut = otsu_threshold(smooth[inside]) if threshold is None else threshold
    binary = _largest_components((smooth > cut) & inside, smallest_share)
    if not bool(binary.any()):
        raise ValueError(f"nothing in the map is above the threshold {cut:g} after the {lowpass_A} A low-pass")
    return soft_edge(binary, edge, extend)
