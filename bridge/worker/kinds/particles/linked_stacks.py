"""Links to the stacks of a CryoSPARC project under names that RELION takes (.mrcs)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.mrc_stack import read_stack_shape
from cryobridge.wrappers.particles.from_cryosparc import RelionTables

LINKS = "stacks"
_STACK = (".mrc", ".mrcs")
_LONGEST_NAME, _LONGEST_PATH = 200, 2000
"""Of a file and of a path, in bytes; file systems take 255 and 4096, and what is put before counts too."""


def linked_stacks(
    tables: RelionTables, table: str, project: Path | None, output: Path
) -> tuple[RelionTables, dict[str, Path]]:
    """The tables with images from linked stacks, and what each link leads to; no links where no project is given.

    Parameters
    ----------
    table
        What to call the particles in messages.
    output
        Folder that the links will lie in.

    Raises
    ------
    InputInvalid
        If a stack is not in the project, is none, or does not hold the images that the table names.
    """
    if project is None:
        return tables, {}
    if '"' in str(output):
        raise InputInvalid(f"{output} (output): a STAR file cannot name what lies there, for its quotation mark")
    split = [str(name).partition("@") for name in tables.particles["rlnImageName"]]
    stacks, which = np.unique([stack for _, _, stack in split], return_inverse=True)
    which = which.ravel()
    last = _largest(np.array([int(number) for number, _, _ in split]), which, len(stacks))
    sides = tables.optics["rlnImageSize"].astype(np.int64)[tables.particles["rlnOpticsGroup"].astype(np.int64) - 1]
    smallest, largest = -_largest(-sides, which, len(stacks)), _largest(sides, which, len(stacks))
    links: dict[str, Path] = {}
    names: list[str] = []
    for at, stack in enumerate(map(str, stacks)):
        target = _target(project, stack, table)
        _expect_images(target, table, int(last[at]), (int(smallest[at]), int(largest[at])))
        name = _link_name(stack, links)
        links[name] = target
        names.append(str(output / name))
    images = [f"{number}@{names[at]}" for (number, _, _), at in zip(split, which, strict=True)]
    return replace(tables, particles={**tables.particles, "rlnImageName": np.array(images)}), links


def said_of_stacks(linked: int) -> str:
    """What has to be said of so many linked stacks, or of none."""
    if linked:
        return (
            f"Stacks are linked in '{LINKS}' under names ending in .mrcs, as RELION needs them ({linked} in all), by "
            "the full path of this folder: leave it where it is."
        )
    return (
        "Paths of images are as CryoSPARC has them; RELION reads stacks only under names ending in .mrcs. Give "
        "'project', and they are linked under such names."
    )


def _largest(values: NDArray[np.int64], which: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The largest of the values (N,) of each of so many stacks."""
    found = np.full(count, np.iinfo(np.int64).min)
    np.maximum.at(found, which, values)
    return found


def _link_name(stack: str, taken: dict[str, Path]) -> str:
    """A name of its own for each stack, without blanks: `a.mrc` and `a.mrcs` would else be called the same."""
    relative = PurePosixPath("_".join(stack.split())).with_suffix("")
    name, number = f"{LINKS}/{relative}.mrcs", 1
    while name in taken:
        number += 1
        name = f"{LINKS}/{relative}_{number}.mrcs"
    return name


def _target(project: Path, stack: str, table: str) -> Path:
    relative = PurePosixPath(stack)
    too_long = len(stack.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in relative.parts)
    shown = stack if len(stack) <= _LONGEST_NAME else f"{stack[:_LONGEST_NAME]}..."
    if relative.is_absolute() or ".." in relative.parts or too_long:
        raise InputInvalid(f"{table}: names the stack {shown}, which is no path inside of the project {project}")
    if relative.suffix.lower() not in _STACK:
        raise InputInvalid(f"{table}: names the stack {shown}, which is no MRC stack ({' or '.join(_STACK)})")
    target = project / relative
    if not target.is_file():
        raise InputInvalid(f"{target}: there is no such stack; give the folder of the project that it lies in")
    return target.resolve()


def _expect_images(stack: Path, table: str, last: int, sides: tuple[int, int]) -> None:
    count, *shape = read_stack_shape(stack)
    remedy = "give the folder of the project that the table is of"
    if count < last:
        raise InputInvalid(f"{stack}: holds {count} images, and {table} names number {last} of it; {remedy}")
    for side in sides:
        if shape != [side, side]:
            raise InputInvalid(
                f"{stack}: holds images of {shape[1]} x {shape[0]} pixels, and {table} says {side} x {side}; {remedy}"
            )
