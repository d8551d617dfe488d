"""Fourier cropping by whole factors, so that all axes keep one voxel size, and the way back.

The spectrum is that of `rfftn`. At the new Nyquist frequency, where a voxel stands for both signs, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cropped(spectrum: Tensor, shape: Sequence[int], factor: int) -> Tensor:
    """The half spectrum of the volume reduced by a factor, scaled so that densities stay as they are.

    Parameters
    ----------
    spectrum
        (..., z, y, x // 2 + 1) of a volume of `shape`.
    shape
        Sides that divide by twice the factor.
    factor
        1 changes nothing.

    Raises
    ------
    ValueError
        If a side does not divide.
    """
    small = reduced(shape, factor)
    if factor == 1:
        return spectrum
    half_z, half_y, half_x = (side // 2 for side in small)
    rows = torch.cat((spectrum[..., :half_z, :, :], spectrum[..., -half_z:, :, :]), dim=-3)
    columns = torch.cat((rows[..., :half_y, :], rows[..., -half_y:, :]), dim=-2)
    kept = columns[..., : half_x + 1].clone()
    kept[..., half_z, :, :] = 0
    kept[..., half_y, :] = 0
    kept[..., half_x] = 0
    return kept / factor**3


def restored(spectrum: Tensor, shape: Sequence[int], factor: int) -> Tensor:
    """The half spectrum (..., z, y, x // 2 + 1) of the volume of `shape` whose reduced one is given; 0 beyond it."""
    if factor == 1:
        return spectrum
    half_z, half_y, half_x = (side // 2 for side in reduced(shape, factor))
    z, y, x = shape
    found = spectrum.new_zeros(*spectrum.shape[:-3], z, y, x // 2 + 1)
    # What lies at the reduced volume's Nyquist has no sign, and is left out.
    for to_z, from_z in ((slice(0, half_z), slice(0, half_z)), (slice(z - half_z + 1, z), slice(half_z + 1, None))):
        for to_y, from_y in ((slice(0, half_y), slice(0, half_y)), (slice(y - half_y + 1, y), slice(half_y + 1, None))):
            found[..., to_z, to_y, :half_x] = spectrum[..., from_z, from_y, :half_x]
    return found * factor**3


def reduced(shape: Sequence[int], factor: int) -> tuple[int, int, int]:
    """The sides of a volume reduced by a factor.

    Raises
    ------
    ValueError
        If one does not divide by twice the factor.
    """
    if factor > 1 and any(side % (2 * factor) for side in shape):
        raise ValueError(f"sides {tuple(shape)} do not all divide by {2 * factor}")
    z, y, x = (side // factor for side in shape)
    return z, y, x
