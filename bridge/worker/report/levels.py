"""At which level to contour a map: one that shows the particle, and the like of it in maps on other scales."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

PARTICLE_SHARE = 0.35
"""Share of a solvent mask that is filled by density: masks are wider than the particle by several Angstrom."""

_DEVIATIONS = 3.0
_LEAST_SHARE = 0.001


def contour_level(volume: Tensor, mask: Tensor | None = None) -> float:
    """Return a sensible contour level of a map (n, n, n), in its units.

    With a mask (n, n, n), the level above which lie as many voxels as 0.35 of the mask's volume, counted inside the
    mask; without one, the mean and three standard deviations, the custom of the field, but never so high that less
    than a thousandth of the box shows.

    Raises
    ------
    ValueError
        If the map is not finite, or the mask is empty.
    """
    if not bool(torch.isfinite(volume).all()):
        raise ValueError("the map holds values that are not finite; it has no contour level")
    if mask is None:
        values = volume.double()
        custom = float(values.mean() + _DEVIATIONS * values.std(correction=0))
        return min(custom, enclosing_level(volume, round(_LEAST_SHARE * volume.numel())))
    inside = volume[mask > 0.5]
    if inside.numel() == 0:
        raise ValueError("the mask is empty; nothing of the map lies inside it")
    return enclosing_level(inside, round(PARTICLE_SHARE * inside.numel()))


def enclosing_level(values: Tensor, count: int) -> float:
    """Return the level that `count` of the values reach or exceed (one, if `count` is smaller; all, if larger)."""
    flat = values.reshape(-1)
    rank = min(max(count, 1), flat.numel())
    return float(flat.kthvalue(flat.numel() - rank + 1).values)


class AlikeLevels:
    """Levels of volumes that come one by one: a sensible one for the first, for the others what encloses as much."""

    def __init__(self) -> None:
        self._enclosed: int | None = None

    def of(self, volume: Tensor) -> float:
        """The level of the next volume (n, n, n)."""
        if self._enclosed is not None:
            return enclosing_level(volume, self._enclosed)
        level = contour_level(volume.cpu())
        self._enclosed = int((volume >= level).sum())
        return level


def contour_levels(maps: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, float]:
    """Return a level for each of several maps (n, n, n): a sensible one for the first, for the others its like.

    All levels enclose the same volume, inside the mask where there is one, so that maps that were sharpened or
    rescaled are compared fairly.
    """
    levels: dict[str, float] = {}
    count = 0
    for name, volume in maps.items():
        inside = volume if mask is None else volume[mask > 0.5]
        if not levels:
            levels[name] = contour_level(volume, mask)
            count = int((inside >= levels[name]).sum())
        else:
            levels[name] = enclosing_level(inside, count)
    return levels
