"""`tomo.prepare_subtomo_star`: a folder of subtomograms as a table."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Inputs, Job, Options
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import Holds, InputFolder
from ...star_names import StarName

NO_BOX = 16
"""No volume is read or made."""


class PrepareSubtomoStarInputs(Inputs):
    """A folder of subtomograms."""

    folder: Annotated[InputFolder, Holds("tomogram", "subtomograms")] = Field(
        validation_alias=AliasChoices("folder", "subtomo_folder", "input_folder"),
        description="folder of subtomograms (.mrc, cubic, all of one size)",
        examples=["subtomo"],
    )


class PrepareSubtomoStarOptions(Options):
    """Options of `tomo.prepare_subtomo_star`."""

    output_star: StarName = Field(
        "subtomo.star", description="name of the table in the output folder, with 'tomo' in it"
    )
    pixel_size_A: float | None = Field(
        None,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("pixel_size_A", "pixel_size", "apix"),
        description="voxel size of the subtomograms in Angstrom; as their headers have it if empty, else 10",
    )
    cube_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="voxels a side of what is trained on, fewer than a subtomogram has; two thirds of them, down to a "
        "multiple of 16, if empty",
    )


class TomoPrepareSubtomoStarJob(Job):
    """Write the table of subtomograms that a refinement starts from, for subtomograms that another program made."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*tomo*.star", "star", "subtomograms", "the table of subtomograms, one a row"),
        REPORT,
    )

    kind: Literal["tomo.prepare_subtomo_star"] = "tomo.prepare_subtomo_star"
    inputs: PrepareSubtomoStarInputs
    options: PrepareSubtomoStarOptions = Field(default_factory=PrepareSubtomoStarOptions)

    def own_box(self, device: str) -> int:
        """Of nothing: only headers are read."""
        return NO_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The report."""
        return MemoryEstimate(REPORT_BYTES + volumes(1, box), volumes(1, box))
