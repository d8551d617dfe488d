"""`map.postprocess`: a sharpened map of two half-maps."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job, Options
from ...half_maps import HalfMapInputs, seed_field, voxel_size_field
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output


class PostprocessOptions(Options):
    """Options of `map.postprocess`."""

    sharpening: Literal["b_factor", "flatten", "none"] = Field(
        "b_factor", description="b_factor: one B-factor; flatten: make the spectrum flat; none: weight by the FSC only"
    )
    b_factor_A2: float | None = Field(
        None,
        ge=-2000,
        le=2000,
        validation_alias=AliasChoices("b_factor_A2", "adhoc_bfac"),
        description="B-factor to apply, negative sharpens; fitted if empty",
    )
    fit_from_A: float = Field(
        10.0,
        gt=0,
        validation_alias=AliasChoices("fit_from_A", "autob_lowres"),
        description="fit the B-factor, or flatten, from this resolution on",
    )
    fit_to_A: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("fit_to_A", "autob_highres"),
        description="fit the B-factor up to this resolution; the resolution of the map if empty",
    )
    low_pass_A: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("low_pass_A", "low_pass"),
        description="low-pass the result at this resolution; the resolution of the map if empty",
    )
    randomise_below_fsc: float = Field(
        0.8,
        gt=0,
        lt=1,
        validation_alias=AliasChoices("randomise_below_fsc", "randomize_at_fsc"),
        description="randomise phases from where the unmasked FSC falls below this, to correct for the mask",
    )
    seed: int = seed_field()
    voxel_size_A: float | None = voxel_size_field()


class MapPostprocessJob(Job):
    """Make a sharpened map of two half-maps, its FSC corrected for the mask, as relion_postprocess does."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("postprocessed.mrc", "map", "sharpened", "the sharpened map"),
        Output("postprocessed_masked.mrc", "map", "masked", "the same inside the mask", always=False),
        Output("fsc.csv", "table", "fsc", "FSC by shell: unmasked, masked, with random phases, corrected"),
        Output("guinier.csv", "table", "guinier", "logarithm of the amplitude by squared frequency"),
        Output("postprocessed.cxc", "script", "script", "shows the map in ChimeraX"),
        REPORT,
    )

    kind: Literal["map.postprocess"] = "map.postprocess"
    inputs: HalfMapInputs
    options: PostprocessOptions = Field(default_factory=PostprocessOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The maps and what is drawn on the host; maps, spectra and those with random phases on the device."""
        return MemoryEstimate(REPORT_BYTES + volumes(6, box), volumes(16, box))
