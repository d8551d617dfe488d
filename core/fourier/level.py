"""The level of a map that is no density: taken off before a mask multiplies it.

Numbers in a file may stand on any level: unsigned types have none below 0, and programs add constants. Under a mask a
level becomes the mask's own shape, which is the same in both half-maps and correlates.
"""

from __future__ import annotations

from torch import Tensor

from .transforms import check_same_box

_LEAST_SOLVENT_SHARE = 0.02


def solvent_level(volume: Tensor, mask: Tensor | None = None) -> float:
    """Mean of a map (n, n, n) where its mask (n, n, n) is not.

    Without a mask it is the median, which is solvent wherever most of the box is; the mean where the mask leaves less
    than 2 % of the box.
    """
    if mask is None:
        return float(volume.median())
    check_same_box(volume, mask)
    solvent = (1 - mask).clamp(0, 1).double()
    if float(solvent.mean()) < _LEAST_SOLVENT_SHARE:
        return float(volume.double().mean())
    return float((volume.double() * solvent).sum() / solvent.sum())


def masked(volume: Tensor, mask: Tensor | None) -> Tensor:
    """A map (n, n, n) less the level of its solvent, under its mask (n, n, n); without a mask as it is."""
    return volume if mask is None else (volume - solvent_level(volume, mask)) * mask
