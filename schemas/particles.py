"""Fields that kinds of jobs on particles have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from .memory import REPORT_BYTES, MemoryEstimate, volumes

NO_MAP_BOX = 16
"""Box by which memory is reckoned where there is no map."""
_TIMES_ITS_FILE = 25
"""What a table takes in memory while it is converted, measured with both kinds on 200 000 particles of little text.

With texts as RELION and CryoSPARC write them a STAR file that is rewritten takes 8 to 12 times its size, a `.cs` 5.
"""
STACK_ENDINGS = (".mrcs", ".mrc", ".map", ".st")
"""Of files that are images and no table of them."""
_PACKED, _TIMES_UNPACKED = (".gz", ".bz2"), 4
"""Tables of particles pack to a third or a fourth of themselves."""


def conversion_memory(tables: Iterable[Path], box: int) -> MemoryEstimate:
    """What a conversion of tables wants: themselves, and a map (box) that shows an axis; nothing of the device."""
    return MemoryEstimate(REPORT_BYTES + bytes_of_tables(tables) + volumes(8, box), volumes(1, box))


def bytes_of_tables(tables: Iterable[Path]) -> int:
    """What tables take on the host while they are read and written again.

    A stack counts nothing, for it is read image by image; nor does a file that is not there: whoever reads it says so.
    """
    held = 0
    for table in tables:
        packed = table.suffix.lower() in _PACKED
        if (table.with_suffix("") if packed else table).suffix.lower() in STACK_ENDINGS:
            continue
        with contextlib.suppress(OSError):
            held += table.stat().st_size * (_TIMES_UNPACKED if packed else 1)
    return _TIMES_ITS_FILE * held


def axis_map_field() -> Any:
    """Declare a map that tells where the two-fold axis of a dihedral group lies."""
    return Field(
        None,
        description="map of the refinement, on which it is looked up where the two-fold axis of a D group lies",
    )


def group_field() -> Any:
    """Declare the point group of the refinement that the particles come from."""
    return Field(
        "C1",
        description="point group of the refinement; for a D group of odd order the two programs have a two-fold on "
        "other axes, and the particles are turned from one to the other",
    )
