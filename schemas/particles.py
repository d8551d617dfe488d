"""Fields that kinds of jobs on particles have in common."""

from __future__ import annotations

from typing import Any

from pydantic import Field

BYTES_OF_A_PARTICLE = 4000
"""In memory while a table is converted, all columns and their texts together; ours."""
TABLE_PARTICLES = 2_000_000
"""For how many the memory is estimated; ours."""


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
