"""`map.combine`: low resolutions of one map, high resolutions of another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Inputs, Job, Options
from ...half_maps import MaskFile, mask_field, voxel_size_field
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import Holds, InputFile


class CombineInputs(Inputs):
    """Two maps on one grid, each good at its own resolutions."""

    low: Annotated[InputFile, Holds("map", "low")] = Field(
        validation_alias=AliasChoices("low", "low_map"), description="map to take the low resolutions from"
    )
    high: Annotated[InputFile, Holds("map", "high")] = Field(
        validation_alias=AliasChoices("high", "high_map"), description="map to take the high resolutions from"
    )
    mask: MaskFile | None = mask_field("where the two are put on one scale")


class CombineOptions(Options):
    """Options of `map.combine`."""

    threshold_resolution_A: float = Field(
        gt=0,
        validation_alias=AliasChoices("threshold_resolution_A", "threshold_res"),
        description="resolution where one map gives way to the other, in Angstrom",
        examples=[10.0],
    )
    voxel_size_A: float | None = voxel_size_field()


class MapCombineJob(Job):
    """Join the low resolutions of one map and the high resolutions of another."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("combined.mrc", "map", "map", "low resolutions of one map, high ones of the other"),
        Output("fsc.csv", "table", "fsc", "FSC of the combined map with both, by shell"),
        Output("combined.cxc", "script", "script", "shows the three maps in ChimeraX"),
        REPORT,
    )

    kind: Literal["map.combine"] = "map.combine"
    inputs: CombineInputs
    options: CombineOptions

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The maps and what is drawn on the host; the maps, their spectra, scales and the result on the device."""
        return MemoryEstimate(REPORT_BYTES + volumes(6, box), volumes(13, box))
