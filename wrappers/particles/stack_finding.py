"""Where the stacks lie that a table names, and whether they hold the images that it takes from them.

A path is tried as it stands, from the table's folder and from every folder above it, since RELION and CryoSPARC write
paths from their project's folder; then from `datadir`; then as a bare name in `datadir`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.image_stack import ImageStack

Indices = NDArray[np.int64]

_LONGEST_PATH, _SHOWN = 4096, 200


@dataclass(frozen=True)
class FoundStacks:
    """Stacks that were found, one for each name.

    box
        Of all images.
    pixel_size_A
        By stack, as headers say; 0 where one does not.
    counts
        Images by stack.
    """

    paths: tuple[Path, ...]
    box: int
    pixel_size_A: NDArray[np.float64]
    counts: Indices


def found_stacks(names: Sequence[str], table: Path, datadir: Path | None) -> FoundStacks:
    """Find stacks, and look at their headers.

    Parameters
    ----------
    names
        As the table has them, each once.
    table
        That names them.

    Raises
    ------
    InputInvalid
        If one is not found, is no stack, or their boxes differ or are odd.
    """
    paths = tuple(stack_path(name, table, datadir) for name in names)
    boxes, sizes, counts = [], [], []
    for path in paths:
        with ImageStack(path) as stack:
            boxes.append(stack.box)
            sizes.append(stack.pixel_size_A)
            counts.append(stack.count)
    for path, box in zip(paths, boxes, strict=True):
        if box != boxes[0]:
            raise InputInvalid(
                f"{table}: {paths[0]} holds images of {boxes[0]} pixels and {path} of {box}; give particles of one box"
            )
    if boxes[0] % 2:
        raise InputInvalid(
            f"{paths[0]}: holds images of {boxes[0]} x {boxes[0]} pixels, an odd number; extract or pad them to an "
            "even box"
        )
    return FoundStacks(paths, boxes[0], np.array(sizes), np.array(counts, np.int64))


def stack_path(name: str, table: Path, datadir: Path | None) -> Path:
    """The file that a table means by a name.

    Raises
    ------
    InputInvalid
        If there is none; it says where it was looked for.
    """
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    if not name or "\0" in name or len(name) > _LONGEST_PATH:
        raise InputInvalid(f"{table}: names the stack '{shown}', which is no path")
    path = Path(name)
    folders = (table.parent.absolute(), *table.parent.absolute().parents)
    tried = [path] if path.is_absolute() else [folder / path for folder in folders]
    if datadir is not None:
        tried += [datadir / name.lstrip("/"), datadir / path.name]
    for one in tried:
        if _is_there(one):
            return one
    where = "as it is written" if path.is_absolute() else f"in {folders[0]} and in the folders above it"
    also = "give 'datadir'" if datadir is None else f"nor as {tried[-2]} or {tried[-1]}; give another 'datadir'"
    raise InputInvalid(f"{table}: names the stack {shown}, which is not there {where}; {also}")


def expect_members(found: FoundStacks, stack: Indices, number: Indices, table: Path) -> None:
    """Refuse a table that takes images (N,) from 0 on beyond the end of a stack.

    Raises
    ------
    InputInvalid
        Names the stack, how many images it has, and which is wanted.
    """
    beyond = number >= found.counts[stack]
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        raise InputInvalid(
            f"{found.paths[stack[row]]}: holds {found.counts[stack[row]]} images, and {table} names number "
            f"{number[row] + 1} of it; give the stack that the table is of"
        )


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:
        return False
