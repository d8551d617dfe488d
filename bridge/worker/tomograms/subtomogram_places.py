"""Where subtomograms of one tomogram are cut out: drawn inside its mask, or read from its file of places."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.tomogram import AXES, NoPosition, allowed_centres, drawn_positions
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.point_list import read_points
from cryobridge.wrappers.tomograms.table import Tomogram
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, opened_mask, sides


def drawn_places(
    tomogram: Tomogram, volume: TomogramVolume, crop: int, count: int, seed: int, *, pad: bool
) -> tuple[Tensor, list[str]]:
    """Centres (n, 3), z, y, x, inside the mask of a row, or anywhere where it has none; and remarks on them.

    Raises
    ------
    InputInvalid
        If there is no place for a crop; says along which axis, how much room is left, and what to do.
    """
    with opened_mask(tomogram, volume.shape) as mask:

        def sections(start: int, stop: int) -> Tensor:
            if mask is None:
                return torch.ones((stop - start, *volume.shape[1:]), dtype=torch.bool)
            return torch.from_numpy(mask.sections(start, stop)) != 0

        found = drawn_positions(
            sections, volume.shape, crop, count, seed, beyond=pad, at_a_time=volume.sections_at_a_time()
        )
        if isinstance(found, NoPosition):
            raise InputInvalid(_no_place(volume, None if mask is None else mask.path, crop, found))
    remarks = []
    if found.valid < count:
        remarks.append(
            f"{tomogram.name}: there are only {found.valid} places for {count} subtomograms, so some are there twice."
        )
    return found.centres, remarks


def given_places(path: Path, volume: TomogramVolume, crop: int, *, pad: bool) -> tuple[Tensor, list[str]]:
    """Centres (n, 3), z, y, x, out of a file of points (x, y, z in voxels), as far as a crop fits there; and remarks.

    Raises
    ------
    InputInvalid
        If the file cannot be read, or no crop fits at any of its places.
    """
    points = torch.from_numpy(read_points(path)).flip(1).round().long()
    limits = torch.tensor(allowed_centres(volume.shape, crop, beyond=pad))
    fits = ((points >= limits[:, 0]) & (points < limits[:, 1])).all(dim=1)
    if not bool(fits.any()):
        raise InputInvalid(
            f"{path}: at none of its {len(points)} places does a crop of {crop} voxels fit into {volume.path} of "
            f"{sides(volume.shape)} voxels; see that they are in voxels of this tomogram, or give a smaller cube_size"
        )
    left_out = int((~fits).sum())
    said = f"{path}: {left_out} of {len(points)} places are too near to the border for a crop of {crop} voxels."
    return points[fits], [said] if left_out else []


def _no_place(volume: TomogramVolume, mask: Path | None, crop: int, why: NoPosition) -> str:
    """What is wrong, in one sentence."""
    remedy = "or set 'pad', which mirrors the tomogram at its ends"
    if why.thin:
        found = ", ".join(f"{volume.shape[AXES.index(axis)]} voxels along {axis}" for axis in why.thin)
        smallest = min(volume.shape)
        return (
            f"{volume.path}: has {found}, and a crop of {crop} needs {crop}; give a cube_size and a crop_size of at "
            f"most {smallest}, {remedy}"
        )
    if why.spans is None:
        return f"{mask}: is empty; make it again with higher percentages (tomo make_mask), or take it out of the table"
    room = ", ".join(
        f"along {axis} it reaches from {start} to {stop - 1} and centres may lie from {low} to {high - 1}"
        for axis, (start, stop), (low, high) in zip(AXES, why.spans, why.allowed, strict=True)
        if axis in why.short
    )
    room = room or f"all its {why.masked} voxels lie too near to the border"
    largest = min(
        2 * min(max(abs(place), 0) for place in _nearest(span, size))
        for span, size in zip(why.spans, volume.shape, strict=True)
    )
    return (
        f"{mask}: leaves no place for a crop of {crop} voxels: {room}; give a smaller cube_size and crop_size (at most "
        f"{largest}), make the mask larger, {remedy}"
    )


def _nearest(span: tuple[int, int], size: int) -> tuple[int, int]:
    """How far the place of a span that is nearest to the middle of an axis is from both ends of it."""
    place = min(max(size // 2, span[0]), span[1] - 1)
    return place, size - place
