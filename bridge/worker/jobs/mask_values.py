"""The values of a mask, whatever type and scale a program gave them, as numbers from 0 to 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryobridge.schemas.errors import InputInvalid

_TOLERANCE = 0.01
_LEAST_TOP = 0.5
"""A mask whose values end below is on another scale: what counts as inside is above a half."""
_FEWEST_PER_SIDE = 4
"""Voxels, times the box's side, below which a mask leaves too few independent values in a shell for any statistic."""
_FEWEST_SHARE, _SMALL_SHARE, _WHOLE_SHARE = 2e-4, 1e-3, 0.99
_PLATEAU = 0.2
"""Share of the voxels above 0 that are 1 in anything that was made as a mask."""


def as_mask(values: Tensor, stored: np.dtype[np.generic], path: Path) -> tuple[Tensor, list[str]]:
    """A mask from 0 to 1, and what a user should know of how it was read.

    Parameters
    ----------
    values
        (n, n, n) as read.
    stored
        The type of the file's numbers.
    path
        The file, for messages.

    Raises
    ------
    InputInvalid
        If they are no mask, cover next to nothing, or are on a scale that nobody can know.
    """
    if bool((values == values.flatten()[0]).all()):
        _refuse_constant(float(values.flatten()[0]), path)
    values, remarks = _as_bytes_were_meant(values, stored, path)
    mask, said = _scaled(values, stored, path)
    remarks += said
    box = mask.shape[-1]
    covered, share = float(mask.sum(dtype=torch.float64)), float(mask.mean(dtype=torch.float64))
    if covered < max(_FEWEST_PER_SIDE * box, _FEWEST_SHARE * mask.numel()):
        inside = int((mask > 0.5).sum())
        raise InputInvalid(
            f"{path}: the mask covers {inside} of {mask.numel()} voxels ({share:.2%} of the box), too few to compare "
            "anything in; give one that covers the particle"
        )
    if share < _SMALL_SHARE:
        remarks.append(f"{path}: the mask covers only {share:.2%} of the box; does it cover the particle?")
    if share > _WHOLE_SHARE:
        remarks.append(f"{path}: the mask covers the whole box, so it masks nothing.")
    return mask, remarks


def _refuse_constant(value: float, path: Path) -> None:
    if abs(value - 1) <= _TOLERANCE:
        return
    if value == 0:
        raise InputInvalid(f"{path}: the mask is empty; give one that covers the particle")
    raise InputInvalid(f"{path}: all values of the mask are {value:g}; give one that is 1 at the particle and 0 around")


def _faces(values: Tensor) -> float:
    """The median of the six faces of the box, where nothing but solvent is."""
    faces = [values.select(axis, place).flatten() for axis in range(3) for place in (0, -1)]
    return float(torch.cat(faces).median())


def _as_bytes_were_meant(values: Tensor, stored: np.dtype[np.generic], path: Path) -> tuple[Tensor, list[str]]:
    """Bytes that are meant without a sign, so that what surrounds the particle is the smallest of them."""
    if stored != np.int8 or float(values.min()) >= 0 or _faces(values) == float(values.min()):
        return values, []
    unsigned = torch.where(values < 0, values + 256, values)
    if _faces(unsigned) != float(unsigned.min()):
        return values, []
    return unsigned, [f"{path}: the mask's bytes were read without a sign, from {_range(unsigned)}."]


def _scaled(values: Tensor, stored: np.dtype[np.generic], path: Path) -> tuple[Tensor, list[str]]:
    low, high = float(values.min()), float(values.max())
    two = bool(((values == low) | (values == high)).all())
    if low >= -_TOLERANCE and _LEAST_TOP <= high <= 1 + _TOLERANCE and not (two and high < 1 - _TOLERANCE):
        return values.clamp(0, 1), []
    outside = _faces(values) == low
    if two and outside:
        return (values == high).float(), [
            f"{path}: the mask holds only {low:g} and {high:g}, which were taken as 0 and 1."
        ]
    full = stored.kind in "iu" and stored.itemsize == 1 and high - low == 255
    if full and outside and int((values == high).sum()) >= _PLATEAU * int((values > low).sum()):
        return (values - low) / 255, [f"{path}: the mask runs from {low:g} to {high:g}, taken as 0 to 1."]
    if high <= 0 and stored.kind == "f":
        raise InputInvalid(f"{path}: the mask is empty (from {_range(values)}); give one that covers the particle")
    raise InputInvalid(f"{path}: the mask runs from {_range(values)}, not from 0 to 1; {_advice(stored, two=two)}")


def _advice(stored: np.dtype[np.generic], *, two: bool) -> str:
    if two:
        return "its faces hold the larger value: is it inverted? Give one that is 1 at the particle and 0 around"
    if stored.kind in "iu":
        return "if it is a mask, write it as float (mode 2), 0 to 1: whole numbers are often shifted or scaled"
    return "is it a mask? Divide it by its largest value if it is one"


def _range(values: Tensor) -> str:
    return f"{float(values.min()):g} to {float(values.max()):g}"
