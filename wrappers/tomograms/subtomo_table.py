"""The table of subtomograms, `subtomo.star`, as IsoNet has it: one row a small volume.

Its columns are `rlnSubtomoIndex`, `rlnImageName`, `rlnCubeSize`, `rlnCropSize` and `rlnPixelSize`; others are kept. All
subtomograms of a table are of one size, since a training takes cube and crop of the first row for all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from ..formats.star import format_blocks
from .table_paths import found_from, text_of
from .table_text import TableText, read_table_text

WANTED = "a table of subtomograms"
_IMAGE, _CUBE, _CROP = "rlnImageName", "rlnCubeSize", "rlnCropSize"


@dataclass(frozen=True)
class Subtomogram:
    """One row: a volume of `crop_size` voxels a side, of which the inner `cube_size` are trained on.

    Attributes
    ----------
    image
        Its file, absolute.
    pixel_size_A
        None where the table has none that can be.
    values
        Every column as text, by label without the underscore.
    """

    row: int
    index: str
    image: Path
    cube_size: int
    crop_size: int
    pixel_size_A: float | None
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SubtomoTable:
    """A table of subtomograms as it was read; `text` keeps the file for changing single cells."""

    path: Path
    subtomograms: tuple[Subtomogram, ...]
    text: TableText = field(repr=False)

    @property
    def cube_size(self) -> int:
        """Voxels a side that are trained on."""
        return self.subtomograms[0].cube_size

    @property
    def crop_size(self) -> int:
        """Voxels a side of each volume."""
        return self.subtomograms[0].crop_size


def default_cube_size(size: int) -> int:
    """The cube of a training in subtomograms of `size` voxels a side, by IsoNet's rule: a multiple of 16.

    Two thirds of the side, rounded down: what lies beyond is room to rotate in. 0 if they are too small.
    """
    return int(size / 1.5 + 1) // 16 * 16


def read_subtomo_table(path: Path) -> SubtomoTable:
    """Read a table of subtomograms.

    Raises
    ------
    InputInvalid
        If it cannot be read, is none, or has sizes that differ or cannot be.
    """
    text = read_table_text(path, _rank, WANTED)
    rows = tuple(_subtomogram(text, number, path) for number in range(len(text.rows)))
    first = rows[0]
    for row in rows:
        if (row.cube_size, row.crop_size) != (first.cube_size, first.crop_size):
            raise InputInvalid(
                f"{path}: row {row.row + 1} has cube and crop {row.cube_size} and {row.crop_size}, the first row "
                f"{first.cube_size} and {first.crop_size}; train on subtomograms of one size"
            )
    if not 0 < first.cube_size <= first.crop_size:
        raise InputInvalid(
            f"{path}: a cube of {first.cube_size} in a crop of {first.crop_size} cannot be; make the cube smaller"
        )
    return SubtomoTable(path, rows, text)


def subtomo_star(
    images: Sequence[Path],
    table: Path,
    *,
    cube_size: int,
    crop_size: int,
    pixel_size_A: float | Sequence[float],
    more: Mapping[str, Sequence[object]] | None = None,
) -> str:
    """The text of a table of subtomograms.

    Parameters
    ----------
    images
        Their files, in the order of the rows.
    table
        Where the text will lie: paths inside its folder are written from there, others absolute.
    pixel_size_A
        Of all, or of each.
    more
        Further columns by label, a value for each row.
    """
    count = len(images)
    sizes = [pixel_size_A] * count if isinstance(pixel_size_A, int | float) else list(pixel_size_A)
    columns: dict[str, Sequence[object]] = {
        "rlnSubtomoIndex": [str(number) for number in range(1, count + 1)],
        _IMAGE: [text_of(path, table) for path in images],
        _CUBE: [cube_size] * count,
        _CROP: [crop_size] * count,
        "rlnPixelSize": [f"{size:.6f}" for size in sizes],
        **(more or {}),
    }
    return format_blocks({"": columns})


def _rank(labels: Collection[str]) -> int:
    return int(_IMAGE in labels) + int({_IMAGE, _CUBE, _CROP} <= set(labels))


def _subtomogram(text: TableText, number: int, path: Path) -> Subtomogram:
    values = text.row(number)
    sizes = {}
    for label in (_CUBE, _CROP):
        value = _number(values.get(label, ""))
        if not (value.is_integer() and 0 < value < 1e5):
            raise InputInvalid(
                f"{path}: row {number + 1} has '{values.get(label, 'nothing')[:40]}' as '{label}'; make the table anew"
            )
        sizes[label] = int(value)
    pixel_size_A = _number(values.get("rlnPixelSize", ""))
    return Subtomogram(
        number,
        values.get("rlnSubtomoIndex", str(number + 1)),
        found_from(path.parent, values[_IMAGE]),
        sizes[_CUBE],
        sizes[_CROP],
        pixel_size_A if math.isfinite(pixel_size_A) and pixel_size_A > 0 else None,
        values,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
