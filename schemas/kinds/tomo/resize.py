"""`tomo.resize`: tomograms at another voxel size."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job, Options
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import OutputFolder
from ...tomogram_tables import StoredType, TomogramIndices, TomogramTableInputs, stored_type_field, tomo_idx_field

LARGEST_SIDE = 512
"""Of a volume of as many voxels as are held at once."""


class ResizeOptions(Options):
    """Options of `tomo.resize`."""

    apix: float = Field(
        15.0,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("apix", "pixel_size_A", "pixel_size"),
        description="new voxel size, in Angstrom",
    )
    output_type: StoredType = stored_type_field()
    tomo_idx: TomogramIndices | None = tomo_idx_field()


class TomoResizeJob(Job):
    """Bring tomograms to another voxel size, without aliasing, and write a table of them."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*_resized.mrc", "tomogram", "resized", "a tomogram, or a half of one, at the new voxel size"),
        Output("*_resized.star", "star", "tomograms", "the table of the tomograms at the new voxel size"),
        REPORT,
    )

    kind: Literal["tomo.resize"] = "tomo.resize"
    inputs: TomogramTableInputs
    output: OutputFolder = Field(
        Path("tomograms_resized"), validation_alias=AliasChoices("output", "output_dir", "out_folder")
    )
    options: ResizeOptions = Field(default_factory=ResizeOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Some sections on the host, their transforms on the device."""
        side = min(box, LARGEST_SIDE)
        return MemoryEstimate(REPORT_BYTES + volumes(1, side), volumes(2, side))
