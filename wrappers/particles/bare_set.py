"""Images without a table: a stack, or a list of stacks in a text file, one a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

from ..formats.image_stack import ImageStack
from .particle_set import ParticleSet
from .source import COARSEST_A, FINEST_A
from .stack_finding import FoundStacks, found_stacks
from .table_choice import TableChoice

_MOST_LIST_BYTES = 64 << 20
_UNKNOWN_A = 1.0


def set_of_stack(path: Path, choice: TableChoice) -> ParticleSet:
    """All images of one stack; raises `InputInvalid` as `ImageStack`, and for a volume."""
    return _set(path, found_stacks([str(path.absolute())], path, choice.datadir), choice)


def set_of_list(path: Path, choice: TableChoice) -> ParticleSet:
    """All images of the stacks that a text file names, one a line, in their order.

    Raises
    ------
    InputInvalid
        If it names none, or one that is not there.
    """
    return _set(path, found_stacks(listed_stacks(path), path, choice.datadir), choice)


def listed_stacks(path: Path) -> list[str]:
    """The names in a list of stacks; raises `InputInvalid` where there is none."""
    text = read_bounded(path, _MOST_LIST_BYTES, is_a="a list has a stack a line")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise InputInvalid(f"{path}: names no stack; write one a line")
    return names


def _set(path: Path, found: FoundStacks, choice: TableChoice) -> ParticleSet:
    for path_of_stack in dict.fromkeys(found.paths):
        with ImageStack(path_of_stack) as opened:
            if opened.is_volume:
                raise InputInvalid(
                    f"{path_of_stack}: is a volume ({opened.box} x {opened.box} x {opened.count}), not images of "
                    "particles; give the stack, or rename it .mrcs if it is one"
                )
    count = int(found.counts.sum())
    stack = np.repeat(np.arange(len(found.paths)), found.counts)
    first = np.cumsum(found.counts) - found.counts
    sizes = found.pixel_size_A[stack]
    remarks = ["There is no table of the particles, only their images."]
    if choice.pixel_size_A is not None:
        sizes = np.full(count, choice.pixel_size_A)
    elif not bool(((sizes >= FINEST_A) & (sizes <= COARSEST_A)).all()):
        sizes = np.full(count, _UNKNOWN_A)
        if not choice.sized_elsewhere:
            remarks.append(f"{path}: says no pixel size, so it is taken to be 1 A; give 'pixel_size_A'.")
    return ParticleSet(
        name=str(path),
        source=None,
        rows=np.arange(count),
        stacks=found.paths,
        stack=stack.astype(np.int64),
        number=(np.arange(count) - first[stack]).astype(np.int64),
        box=found.box,
        pixel_size_A=sizes,
        optics_group=np.zeros(count, np.int64),
        micrograph=np.full(count, -1, np.int64),
        half=np.zeros(count, np.int64),
        remarks=tuple(remarks),
    )
