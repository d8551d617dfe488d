"""Whole tomograms as the mean of their even and odd halves, written section by section."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from cryobridge.wrappers.formats.mrc_windows import MrcWindows
from cryobridge.wrappers.formats.volume_writer import VolumeWriter, stored_type
from cryobridge.wrappers.tomograms.collected import CheckedTomogram
from cryobridge.wrappers.tomograms.name_matching import series_name

from ..jobs.context import Context
from ..loop import Progress
from .row_steps import refuse_to_replace

_AT_A_TIME = 4 << 20
"""Voxels of each half that are held at once."""
_ALIKE = 0.01


def averaged(
    tomograms: Sequence[CheckedTomogram], context: Context, done: float
) -> Generator[Progress, None, list[CheckedTomogram]]:
    """Write the mean of the halves of every tomogram that has no whole one, and name it as that.

    It lies where its even half lies and is stored as that is: as float16, as int8, else as float32.

    Parameters
    ----------
    done
        How far the job is.

    Raises
    ------
    InputInvalid
        If a file holds NaN or infinite values, or would be replaced by the result.
    """
    found = []
    for number, one in enumerate(tomograms):
        found.append(_with_average(one, context))
        share = (number + 1) / len(tomograms)
        yield Progress(f"averaged the halves of {one.files.name}", done + (1 - done) * share)
    return found


def _with_average(tomogram: CheckedTomogram, context: Context) -> CheckedTomogram:
    even, odd = tomogram.files.half1, tomogram.files.half2
    if tomogram.files.full is not None or even is None or odd is None:
        return tomogram
    name = f"{series_name(even)}.mrc"
    refuse_to_replace(context, name, (even, odd))
    with MrcWindows(even) as first, MrcWindows(odd) as second, context.folder.writing(name) as descriptor:
        like, size_A = first.header, tomogram.voxel_size_A
        if any(abs(one - size_A) > _ALIKE * size_A for one in like.voxel_size_A):
            like = replace(like, voxel_size_A=(size_A,) * 3)
        writer = VolumeWriter(descriptor, like, stored_type(like.dtype), name)
        step = max(1, _AT_A_TIME // math.prod(like.shape[1:]))
        for start in range(0, like.shape[0], step):
            stop = min(start + step, like.shape[0])
            mean = np.float32(0.5) * first.sections(start, stop) + np.float32(0.5) * second.sections(start, stop)
            writer.put(start, 0, 0, mean)
        writer.finish()
    return replace(tomogram, files=replace(tomogram.files, full=context.folder.path / name))
