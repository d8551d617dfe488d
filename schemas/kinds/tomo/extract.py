"""`tomo.extract`: subtomograms to train on, cut out at random places inside masks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from ...envelope import Job, Options
from ...half_maps import seed_field
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import OutputFolder
from ...star_names import StarName
from ...tomogram_tables import TomogramIndices, TomogramTableInputs, tomo_idx_field, without_effect_field

ROTATION_ROOM = 16
"""By how many voxels a crop is larger than its cube where nobody says."""


class ExtractOptions(Options):
    """Options of `tomo.extract`."""

    cube_size: int = Field(
        64, ge=8, le=1024, multiple_of=8, description="side of what is trained on, in voxels; a multiple of 8"
    )
    crop_size: int | None = Field(
        None,
        ge=8,
        le=1280,
        description=f"side of what is cut out, in voxels: the cube and room to rotate it; cube_size + {ROTATION_ROOM} "
        "if empty",
    )
    number_subtomos: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        validation_alias=AliasChoices("number_subtomos", "number_subtomo"),
        description="from each tomogram; as the table says (rlnNumberSubtomo), else 100, if empty",
    )
    use_deconv_tomo: bool = Field(True, description="cut out of the deconvolved tomogram where there is one")
    use_box_file: bool = Field(
        True, description="take the places of a row's rlnBoxFile where it has one, in place of random ones"
    )
    pad: bool = Field(
        False, description="let crops reach beyond the tomogram, which is mirrored there: for thin tomograms"
    )
    subtomo_star: StarName = Field("subtomo.star", description="name of the table in the output folder")
    tomo_idx: TomogramIndices | None = tomo_idx_field()
    seed: int = seed_field()
    log_level: str | None = without_effect_field()

    @model_validator(mode="after")
    def _holding(self) -> Self:
        if self.crop_size is not None and self.crop_size < self.cube_size:
            raise ValueError(f"crop_size {self.crop_size} is smaller than cube_size {self.cube_size}")
        return self

    @property
    def crop(self) -> int:
        """Side of what is cut out, in voxels."""
        return self.cube_size + ROTATION_ROOM if self.crop_size is None else self.crop_size


class TomoExtractJob(Job):
    """Cut subtomograms to train on out of tomograms, at random places inside their masks."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*tomo*.star", "star", "subtomograms", "the table of subtomograms, one a row"),
        Output("*.mrc", "map", "subtomogram", "a part of a tomogram, where it lies in it"),
        REPORT,
    )

    kind: Literal["tomo.extract"] = "tomo.extract"
    inputs: TomogramTableInputs
    output: OutputFolder = Field(
        Path("subtomo"), validation_alias=AliasChoices("output", "output_dir", "subtomo_folder")
    )
    options: ExtractOptions = Field(default_factory=ExtractOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """A few crops and sections; nothing is computed on the device."""
        return MemoryEstimate(REPORT_BYTES + volumes(4, min(box, 512)), volumes(1, min(box, 64)) + 4 * box)
