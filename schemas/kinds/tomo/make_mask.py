"""`tomo.make_mask`: masks of where in tomograms there is something."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field, model_validator

from ...envelope import Job, Options
from ...memory import REPORT_BYTES, MemoryEstimate
from ...outputs import REPORT, Output
from ...paths import Holds, InputFile, OutputFolder
from ...tomogram_tables import (
    TABLE,
    InputColumn,
    TomogramIndices,
    TomogramTableInputs,
    block_bytes,
    input_column_field,
    read_by_column,
    tomo_idx_field,
    update_star_field,
)

BLOCK = 160
"""Side of the blocks of the binned tomogram that are held at once, without their margin."""


class MakeMaskInputs(TomogramTableInputs):
    """A table of tomograms and, if wanted, an outline."""

    mask_boundary: Annotated[InputFile, Holds("arrays", "outline")] | None = Field(
        None,
        description="outline for tomograms whose row has none (rlnMaskBoundary): IMOD model (.mod), or points as text, "
        "JSON or CSV",
    )


class MakeMaskOptions(Options):
    """Options of `tomo.make_mask`; a percentage here goes before what the table says."""

    patch_size: int = Field(
        4, ge=1, le=64, description="half the side of the boxes that are looked at, in voxels of twice the size"
    )
    density_percentage: float | None = Field(
        None,
        ge=0,
        le=100,
        description="how much of the tomogram stays by its density, in percent; as the table says "
        "(rlnMaskDensityPercentage), else 50, if empty. 100: all",
    )
    std_percentage: float | None = Field(
        None,
        ge=0,
        le=100,
        description="how much of the tomogram stays by its local deviation, in percent; as the table says "
        "(rlnMaskStdPercentage), else 50, if empty. 100: all",
    )
    use_deconv_tomo: bool = Field(True, description="look at the deconvolved tomogram where there is one")
    z_crop: float | None = Field(
        None, ge=0, lt=0.5, description="this part of the sections is left out at each end along z"
    )
    tomo_idx: TomogramIndices | None = tomo_idx_field()
    update_star: bool = update_star_field()
    input_column: InputColumn | None = input_column_field()

    @model_validator(mode="before")
    @classmethod
    def _column(cls, options: Any) -> Any:
        return read_by_column(options)


class TomoMakeMaskJob(Job):
    """Make masks of tomograms: where there is density, where it varies, and inside an outline."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*_mask.mrc", "mask", "mask", "1 where there is something, else 0; as large as its tomogram"),
        TABLE,
        REPORT,
    )

    kind: Literal["tomo.make_mask"] = "tomo.make_mask"
    inputs: MakeMaskInputs
    output: OutputFolder = Field(Path("mask"), validation_alias=AliasChoices("output", "output_dir", "mask_folder"))
    options: MakeMaskOptions = Field(default_factory=MakeMaskOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """A block as it is read on the host; on the device it is binned, and measured by arrays of an eighth of it."""
        side = 2 * (BLOCK + 6 * self.options.patch_size)
        return MemoryEstimate(REPORT_BYTES + block_bytes(3, box, side), block_bytes(3, box, side))
