"""The subtomograms of a table, read and checked once, each with the wedge of its tomogram."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryobridge.core.tomogram import Wedge
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.refine import TomoRefineOptions
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.subtomo_table import Subtomogram, SubtomoTable, read_subtomo_table

from ....loop import Progress

_LOWEST_DEG, _HIGHEST_DEG = -60.0, 60.0
_TELL_EVERY = 20


@dataclass(frozen=True)
class LoadedSubtomograms:
    """What is learned from.

    Attributes
    ----------
    volumes
        (n, c, c, c) on the host, protein bright: the files' values times -1, as IsoNet has it.
    wedges
        Of each of them.
    cube
        Side of what is shown to the network.
    state
        By what the files are known again: name, size, and time of the last change of each.
    """

    table: SubtomoTable
    volumes: Tensor
    wedges: tuple[Wedge, ...]
    cube: int
    state: list[list[Any]]

    @property
    def crop(self) -> int:
        """Side of a subtomogram."""
        return self.volumes.shape[-1]

    @property
    def pixel_size_A(self) -> float | None:
        """Of the first one; None where the table does not tell."""
        return self.table.subtomograms[0].pixel_size_A


def load_subtomograms(
    path: Path, options: TomoRefineOptions, divisor: int
) -> Generator[Progress, None, LoadedSubtomograms]:
    """Read every subtomogram of a table.

    Parameters
    ----------
    path
        `subtomo.star`.
    options
        For tilts that go before the table's.
    divisor
        By which the cube must divide, for the network.

    Raises
    ------
    InputInvalid
        If the table or one of its files cannot be used: one sentence that names the row.
    """
    table = read_subtomo_table(path)
    if table.cube_size % divisor:
        raise InputInvalid(
            f"{path}: rlnCubeSize {table.cube_size} does not divide by {divisor}, as the network's unet_depth wants; "
            "extract with another cube_size, or choose a smaller unet_depth"
        )
    wedges = tuple(_wedge(one, options, path) for one in table.subtomograms)
    for one in table.subtomograms:
        _check_header(one, path)
    yield Progress(f"{len(table.subtomograms)} subtomograms of {table.crop_size} voxels a side")
    volumes = torch.empty((len(table.subtomograms), *(table.crop_size,) * 3))
    for number, one in enumerate(table.subtomograms):
        volumes[number] = -_values(one, path)
        if (number + 1) % _TELL_EVERY == 0:
            yield Progress(f"read {number + 1} of {len(table.subtomograms)} subtomograms")
    return LoadedSubtomograms(table, volumes, wedges, table.cube_size, [_state(one) for one in table.subtomograms])


def _check_header(one: Subtomogram, table: Path) -> None:
    try:
        header = mrc.read_header(one.image)
    except InputInvalid as error:
        raise InputInvalid(f"{table}: row {one.row + 1}: {error}") from error
    if header.shape != (one.crop_size,) * 3:
        found = " x ".join(str(side) for side in reversed(header.shape))
        raise InputInvalid(
            f"{table}: row {one.row + 1}: {one.image} has {found} voxels, the table says {one.crop_size} a side "
            "(rlnCropSize); extract again, or run tomo prepare_subtomo_star"
        )


def _values(one: Subtomogram, table: Path) -> Tensor:
    try:
        values, _ = mrc.read(one.image)
    except InputInvalid as error:
        raise InputInvalid(f"{table}: row {one.row + 1}: {error}") from error
    if values.min() == values.max():
        raise InputInvalid(
            f"{table}: row {one.row + 1}: all voxels of {one.image} are {values.flat[0]:g}; remove this row, or "
            "extract again"
        )
    return torch.from_numpy(values)


def _wedge(one: Subtomogram, options: TomoRefineOptions, table: Path) -> Wedge:
    lowest = _tilt(one, "rlnTiltMin", options.tilt_min_deg, _LOWEST_DEG, table)
    highest = _tilt(one, "rlnTiltMax", options.tilt_max_deg, _HIGHEST_DEG, table)
    try:
        if lowest < highest:
            return Wedge.of_range(lowest, highest)
    except ValueError:
        pass
    raise InputInvalid(
        f"{table}: row {one.row + 1}: tilts from {lowest:g} to {highest:g} degrees cannot be; give tilt_min and "
        "tilt_max"
    )


def _tilt(one: Subtomogram, label: str, chosen: float | None, otherwise: float, table: Path) -> float:
    text = one.values.get(label, "None")
    if chosen is not None or text in ("None", ""):
        return otherwise if chosen is None else chosen
    try:
        return float(text)
    except ValueError as error:
        raise InputInvalid(f"{table}: row {one.row + 1}: '{text[:40]}' is no tilt in degrees ({label})") from error


def _state(one: Subtomogram) -> list[Any]:
    status = one.image.stat()
    return [str(one.image), status.st_size, status.st_mtime_ns]
