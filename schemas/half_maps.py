"""Fields and inputs that several kinds of jobs on maps have in common.

The names that users of spIsoNet know are accepted beside ours.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from .envelope import Inputs
from .paths import Holds, InputFile
from .validation import short

Form = Literal["phase_cosine", "sum_ratio"]
"""How a 3DFSC is computed: mean phase cosine, as spIsoNet, or ratio of sums (Tan et al. 2017)."""


MapFile = Annotated[InputFile, Holds("map")]
MaskFile = Annotated[InputFile, Holds("mask")]
Fsc3dFile = Annotated[InputFile, Holds("fourier_volume", "fsc3d")]
ViewsFile = Annotated[InputFile, Holds("particles", parts=("views",))]
"""Particles of which the views are read."""

SMALLEST_VOXEL_A, WIDEST_VOXEL_A = 0.1, 20.0
"""Beyond these no maps of particles are made; a header that says otherwise holds something else there."""


def voxel_size_field() -> Any:
    """Declare the voxel size of all maps of a job, for headers that give none or a wrong one."""
    return Field(
        None,
        ge=SMALLEST_VOXEL_A,
        le=WIDEST_VOXEL_A,
        validation_alias=AliasChoices("voxel_size_A", "apix"),
        description="voxel size of the maps in Angstrom, in place of their headers'; as the headers have it if empty",
    )


def limit_field(verb: str) -> Any:
    """Declare the resolution that a job goes up to; none means where the FSC falls below 0.143."""
    return Field(
        None,
        gt=0,
        validation_alias=AliasChoices("limit_resolution_A", "limit_res"),
        description=f"{verb} up to this resolution, in Angstrom; where the FSC falls below 0.143 if empty",
    )


_POINT_GROUP = re.compile(r"[CD][1-9][0-9]{0,2}|T|O|I[1-4]?", re.IGNORECASE)


def _point_group(text: str) -> str:
    if not _POINT_GROUP.fullmatch(text):
        raise ValueError(f"{short(text)} is no point group; give e.g. C3, D7, T, O, I1")
    return text


PointGroup = Annotated[str, AfterValidator(_point_group)]
"""A point group in RELION's names; which axes they have, `core.volume` knows."""


def symmetry_field() -> Any:
    """Declare a field of the type `PointGroup`."""
    return Field(
        "C1",
        validation_alias=AliasChoices("symmetry", "sym"),
        description="point group in RELION's names, e.g. C3, D7, O, I1",
    )


def mask_field(description: str = "mask, 0 to 1, the same box") -> Any:
    """Declare a mask that may be left out."""
    return Field(None, validation_alias=AliasChoices("mask", "mask_file"), description=description)


def seed_field() -> Any:
    """Declare the seed of everything random."""
    return Field(0, ge=0, lt=2**31, description="of everything random")


def particles_field(default: Any = ...) -> Any:
    """Declare a table of particles with their views; needed, if no default is given."""
    return Field(
        default,
        validation_alias=AliasChoices("particles", "star_file"),
        description="particles with their views: RELION .star or CryoSPARC .cs",
        examples=["particles.star"],
    )


class MapInputs(Inputs):
    """One map."""

    map: MapFile = Field(
        validation_alias=AliasChoices("map", "h1", "in_name", "input"), description="the map (MRC, cubic)"
    )


class HalfMapInputs(Inputs):
    """Two half-maps of one reconstruction and, if wanted, a mask on the same grid."""

    half1: Annotated[InputFile, Holds("half_map", "half1")] = Field(
        validation_alias=AliasChoices("half1", "h1", "i1", "h", "half_map1"), description="half-map 1 (MRC, cubic)"
    )
    half2: Annotated[InputFile, Holds("half_map", "half2")] = Field(
        validation_alias=AliasChoices("half2", "h2", "i2", "half_map2"),
        description="half-map 2, the same box and voxel size",
    )
    mask: MaskFile | None = mask_field()

    @model_validator(mode="after")
    def _different(self) -> Self:
        if self.half1 == self.half2:
            raise ValueError(f"half1 and half2 are the same file, {self.half1}; give the two half-maps")
        return self
