"""Tables of particles whose images were downsampled: every other column as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..formats.cs_table import Columns
from ..formats.star import Block
from ..formats.star_columns import read_columns
from .relion_rows import particles_block

Table = dict[str, Sequence[str]]
Numbers = NDArray[np.float64]

_IN_PIXELS = ("rlnOriginX", "rlnOriginY", "rlnOriginZ")
"""RELION 3.0's, in pixels of the images."""


def downsampled_star(
    path: Path, rows: NDArray[np.int64], names: Sequence[str], old_box: int, new_box: int
) -> Mapping[str, Mapping[str, object]]:
    """The blocks of a STAR file with other images.

    Parameters
    ----------
    rows
        (K,) of its particles, which the new file has.
    names
        K images, as "number@stack".
    """
    blocks = read_columns(path, lambda _: True)
    own = particles_block(blocks, str(path))
    says_size = any("rlnImagePixelSize" in block.columns for block in blocks.values())
    return {
        name: _rescaled(
            _rows_of(block, rows, names) if block is own else dict(block.columns), old_box, new_box, says_size=says_size
        )
        for name, block in blocks.items()
    }


def downsampled_cs(
    columns: Columns, rows: NDArray[np.int64], names: Sequence[str], old_box: int, new_box: int, size_A: Numbers
) -> Columns:
    """The columns of a `.cs` with other images; ids and alignments stay, for shifts have a pixel size of their own.

    Box and pixel size are written where the table did not say them as well: it can be read without help from then on.

    Parameters
    ----------
    rows
        (K,) of its particles, which the new table has.
    names
        K images, as "number@stack".
    size_A
        (K,) pixel sizes of the images before, for a table that says none.
    """
    found = {name: values[rows] for name, values in columns.items()}
    split = [name.partition("@") for name in names]
    said_A = found.get("blob/psize_A", size_A.astype(np.float32))
    found["blob/psize_A"] = (said_A.astype(np.float64) * old_box / new_box).astype(said_A.dtype)
    found["blob/path"] = np.array([stack for _, _, stack in split])
    found["blob/idx"] = np.array([int(number) - 1 for number, _, _ in split], columns["blob/idx"].dtype)
    found["blob/shape"] = np.full_like(found.get("blob/shape", np.empty((len(rows), 2), np.uint32)), new_box)
    return found


def _rows_of(block: Block, rows: NDArray[np.int64], names: Sequence[str]) -> Table:
    chosen = rows.tolist()
    return {
        label: list(names) if label == "rlnImageName" else [values[row] for row in chosen]
        for label, values in block.columns.items()
    }


def _rescaled(columns: Table, old_box: int, new_box: int, *, says_size: bool) -> Table:
    """What counts in pixels, or counts them."""
    ratio = old_box / new_box
    factors = {"rlnImagePixelSize": ratio, **dict.fromkeys(_IN_PIXELS, 1 / ratio)}
    if not says_size:
        # RELION 3.0: the pixel size is this and the magnification.
        factors["rlnDetectorPixelSize"] = ratio
    found = dict(columns)
    for label, factor in factors.items():
        if label in found:
            found[label] = [f"{float(value) * factor:.6f}" for value in found[label]]
    if "rlnImageSize" in found:
        found["rlnImageSize"] = [str(new_box)] * len(found["rlnImageSize"])
    return found
