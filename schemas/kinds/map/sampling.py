"""`map.sampling`: how densely a particle set's views sample each direction."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Inputs, Job, Options
from ...half_maps import PointGroup, ViewsFile, particles_field, seed_field, symmetry_field
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output


class SamplingInputs(Inputs):
    """The views of a refinement."""

    particles: ViewsFile = particles_field()


class SamplingOptions(Options):
    """Options of `map.sampling`."""

    box: int = Field(
        ge=16,
        le=1024,
        validation_alias=AliasChoices("box", "map_dim"),
        description="box of the result, in voxels",
        examples=[128],
    )
    voxel_size_A: float = Field(
        1.0,
        gt=0,
        validation_alias=AliasChoices("voxel_size_A", "apix"),
        description="voxel size of the result, in Angstrom",
    )
    low_resolution_A: float = Field(
        100.0,
        gt=0,
        validation_alias=AliasChoices("low_resolution_A", "low_res"),
        description="full weight up to this resolution, in Angstrom",
    )
    high_resolution_A: float = Field(
        1.0,
        gt=0,
        validation_alias=AliasChoices("high_resolution_A", "high_res"),
        description="no weight beyond this resolution, in Angstrom",
    )
    views: int = Field(
        10_000,
        ge=1000,
        validation_alias=AliasChoices("views", "number_subset"),
        description="how many views to use, symmetric copies included, drawn at random where there are more",
    )
    grid: int = Field(
        64,
        ge=16,
        le=256,
        validation_alias=AliasChoices("grid", "grid_size"),
        description="voxels along the grid that views are counted on",
    )
    symmetry: PointGroup = symmetry_field()
    seed: int = seed_field()


class MapSamplingJob(Job):
    """Find how densely the views of a particle set sample each direction of Fourier space."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("FSD3D.mrc", "fourier_volume", "sampling", "density of samples, the origin at the centre of the box"),
        REPORT,
    )

    kind: Literal["map.sampling"] = "map.sampling"
    inputs: SamplingInputs
    options: SamplingOptions

    def own_box(self, device: str) -> int:
        """Box of the result: there are no maps among the inputs."""
        return self.options.box

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The result and what is drawn on the host; the volume, its radii and the grid of views on the device."""
        return MemoryEstimate(REPORT_BYTES + volumes(2, box), volumes(6, box) + volumes(4, self.options.grid))
