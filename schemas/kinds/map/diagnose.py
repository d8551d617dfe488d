"""`map.diagnose`: how well half-maps are measured by direction, and what a correction did to them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...envelope import Job, Options
from ...half_maps import (
    HalfMapInputs,
    PointGroup,
    ViewsFile,
    limit_field,
    particles_field,
    seed_field,
    symmetry_field,
    voxel_size_field,
)
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import Holds, InputFile
from .correct import CorrectOptions, correction_bytes


class DiagnoseInputs(HalfMapInputs):
    """Half-maps to judge and, where there are, their corrected maps and their particles."""

    corrected1: Annotated[InputFile, Holds("half_map", "corrected1")] | None = Field(
        None, description="half-map 1 after a correction"
    )
    corrected2: Annotated[InputFile, Holds("half_map", "corrected2")] | None = Field(
        None, description="half-map 2 after a correction"
    )
    particles: ViewsFile | None = particles_field(None)
    network: Annotated[InputFile, Holds("model")] | None = Field(
        None, description="network.safetensors of the correction, for its controls"
    )

    @model_validator(mode="after")
    def _both_corrected(self) -> Self:
        if (self.corrected1 is None) != (self.corrected2 is None):
            raise ValueError("corrected1 and corrected2 go together; give both")
        return self


class DiagnoseOptions(Options):
    """Options of `map.diagnose`."""

    limit_resolution_A: float | None = limit_field("judge")
    voxel_size_A: float | None = voxel_size_field()
    half_angle_deg: float = Field(
        20.0, gt=0, le=90, description="half the opening of the cone of a directional FSC, in degrees"
    )
    symmetry: PointGroup = symmetry_field()
    hold_out: bool = Field(
        False, description="spoil a well measured direction, correct, and see what comes back (trains a network)"
    )
    steps: int | None = Field(None, ge=1, description="training steps of the hold-out test; by device if empty")
    mode: Literal["shared", "independent"] = Field("shared", description="networks of the hold-out test")
    seed: int = seed_field()


class MapDiagnoseJob(Job):
    """Say how well a pair of half-maps is measured by direction, and what a correction did to them."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("FSC3D.mrc", "fourier_volume", "fsc3d", "the 3DFSC, the origin at the centre of the box"),
        Output("fsc.csv", "table", "fsc", "FSC by shell"),
        Output("directional.csv", "table", "directions", "resolution by direction"),
        Output("directional_fsc.csv", "table", "directional_fsc", "FSC over directions by shell: mean, extremes"),
        Output("views.csv", "table", "views", "density of views by direction", always=False),
        Output("change.csv", "table", "change", "share of the power that the correction changed", always=False),
        Output("hold_out_half1.mrc", "half_map", "half1", "half-map 1 with a direction spoilt", always=False),
        Output("hold_out_half2.mrc", "half_map", "half2", "half-map 2 with a direction spoilt", always=False),
        Output("hold_out.csv", "table", "hold_out", "FSC in the spoilt direction, by shell", always=False),
        Output("controls.csv", "table", "controls", "FSC of halves without a signal, by shell", always=False),
        REPORT,
    )

    kind: Literal["map.diagnose"] = "map.diagnose"
    inputs: DiagnoseInputs
    options: DiagnoseOptions = Field(default_factory=DiagnoseOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The maps and what is drawn on the host; maps, spectra and 3DFSC on the device, and what a hold-out trains."""
        held_out = correction_bytes(CorrectOptions().network_options(device), box)
        return MemoryEstimate(
            REPORT_BYTES + volumes(8 if self.inputs.corrected1 is None else 12, box),
            volumes(16 if self.inputs.corrected1 is None else 28, box) + (held_out if self.options.hold_out else 0),
        )
