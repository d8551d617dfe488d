"""`map.whiten`: amplitudes made alike, by shell or by direction."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from ...envelope import Job, Options
from ...half_maps import MapInputs, MaskFile, mask_field, voxel_size_field
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output


class WhitenInputs(MapInputs):
    """One map and, if wanted, a mask on the same grid."""

    mask: MaskFile | None = mask_field()


class WhitenOptions(Options):
    """Options of `map.whiten`."""

    high_resolution_A: float = Field(
        3.0,
        gt=0,
        validation_alias=AliasChoices("high_resolution_A", "high_res"),
        description="flatten the spectrum up to this resolution, in Angstrom",
    )
    low_resolution_A: float = Field(
        10.0,
        gt=0,
        validation_alias=AliasChoices("low_resolution_A", "low_res"),
        description="flatten the spectrum from this resolution on, in Angstrom",
    )
    mode: Literal["radial", "angular"] = Field(
        "radial", description="radial: make all shells alike; angular: make all directions alike"
    )
    voxel_size_A: float | None = voxel_size_field()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_resolution_A >= self.low_resolution_A:
            raise ValueError(
                f"high_resolution_A {self.high_resolution_A:g} is not finer than low_resolution_A "
                f"{self.low_resolution_A:g}"
            )
        return self


class MapWhitenJob(Job):
    """Flatten the amplitudes of a map, by shell or by direction."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("whitened.mrc", "map", "map", "the whitened map"),
        Output("spectrum.csv", "table", "spectrum", "mean amplitude by shell, before and after"),
        Output("whitened.cxc", "script", "script", "shows the map before and after in ChimeraX"),
        REPORT,
    )

    kind: Literal["map.whiten"] = "map.whiten"
    inputs: WhitenInputs
    options: WhitenOptions = Field(default_factory=WhitenOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The map before and after on the host; its spectra on the device, where directions take four times as many."""
        return MemoryEstimate(REPORT_BYTES + volumes(4, box), volumes(24 if self.options.mode == "angular" else 6, box))
