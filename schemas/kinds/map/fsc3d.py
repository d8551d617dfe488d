"""`map.fsc3d`: the Fourier shell correlation of two half-maps by direction."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job, Options
from ...half_maps import Form, HalfMapInputs, limit_field, voxel_size_field
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output


class Fsc3dOptions(Options):
    """Options of `map.fsc3d`."""

    limit_resolution_A: float | None = limit_field("compute")
    voxel_size_A: float | None = voxel_size_field()
    half_angle_deg: float = Field(
        10.0,
        gt=0,
        le=90,
        validation_alias=AliasChoices("half_angle_deg", "cone_sampling_angle"),
        description="half the opening of the cone that is averaged over, in degrees",
    )
    form: Form = Field(
        "phase_cosine", description="mean phase cosine (as spIsoNet), or ratio of sums (Tan et al. 2017)"
    )
    keep_high_resolution: bool = Field(
        False,
        validation_alias=AliasChoices("keep_high_resolution", "keep_highres"),
        description="give full weight beyond the limit resolution",
    )


class MapFsc3dJob(Job):
    """Compute the Fourier shell correlation of two half-maps by direction (3DFSC)."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("FSC3D.mrc", "fourier_volume", "fsc3d", "the 3DFSC, the origin at the centre of the box"),
        Output("fsc.csv", "table", "fsc", "FSC by shell"),
        REPORT,
    )

    kind: Literal["map.fsc3d"] = "map.fsc3d"
    inputs: HalfMapInputs
    options: Fsc3dOptions = Field(default_factory=Fsc3dOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The maps and the 3DFSC on the host; the maps, their spectra and sums by direction on the device."""
        return MemoryEstimate(REPORT_BYTES + volumes(4, box), volumes(9, box))
