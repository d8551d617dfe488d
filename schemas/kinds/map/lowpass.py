"""`map.lowpass`: a map without the detail beyond a resolution."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job, Options
from ...half_maps import MapInputs, voxel_size_field
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output


class LowpassOptions(Options):
    """Options of `map.lowpass`."""

    resolution_A: float = Field(
        gt=0,
        validation_alias=AliasChoices("resolution_A", "lowpass", "limit_res"),
        description="leave out what is finer than this resolution, in Angstrom",
        examples=[10.0],
    )
    edge: Literal["raised_cosine", "ramp"] = Field(
        "raised_cosine",
        description="raised_cosine: about the resolution, as relion_image_handler; ramp: down to it, as spIsoNet",
    )
    edge_shells: int | None = Field(
        None, ge=0, le=64, description="width of the edge, in shells; 2 for a raised cosine and 3 for a ramp if empty"
    )
    voxel_size_A: float | None = voxel_size_field()

    @property
    def width(self) -> int:
        """Width of the edge as used, in shells."""
        return self.edge_shells if self.edge_shells is not None else {"raised_cosine": 2, "ramp": 3}[self.edge]


class MapLowpassJob(Job):
    """Low-pass a map: leave out the detail beyond a resolution."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("lowpassed.mrc", "map", "map", "the map up to the resolution"),
        Output("spectrum.csv", "table", "spectrum", "mean amplitude by shell, before and after, and the filter's gain"),
        Output("lowpassed.cxc", "script", "script", "shows the map before and after in ChimeraX"),
        REPORT,
    )

    kind: Literal["map.lowpass"] = "map.lowpass"
    inputs: MapInputs
    options: LowpassOptions

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """On the host the map and what is written; on the device the map, the spectrum, the filter and the result."""
        return MemoryEstimate(REPORT_BYTES + volumes(3, box), volumes(6, box))
