"""The kinds of jobs on half-maps and maps but for the correction, each with its inputs and options.

The names that users of spIsoNet know are accepted beside ours.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from .envelope import InputFile, Inputs, Job, Options

Form = Literal["phase_cosine", "sum_ratio"]


def limit_field(verb: str) -> Any:
    """Declare the resolution that a job goes up to; none means where the FSC falls below 0.143."""
    return Field(
        None,
        gt=0,
        validation_alias=AliasChoices("limit_resolution_A", "limit_res"),
        description=f"{verb} up to this resolution, in Angstrom; where the FSC falls below 0.143 if empty",
    )


def symmetry_field() -> Any:
    """Declare a point group."""
    return Field(
        "C1",
        pattern=r"^(?i:[CD][1-9][0-9]{0,2}|T|O|I[1-4]?)$",
        validation_alias=AliasChoices("symmetry", "sym"),
        description="point group in RELION's names, e.g. C3, D7, O, I1",
    )


class HalfMapInputs(Inputs):
    """Two half-maps of one reconstruction and, if wanted, a mask on the same grid."""

    half1: InputFile = Field(
        validation_alias=AliasChoices("half1", "h1", "i1", "h", "half_map1"), description="half-map 1 (MRC, cubic)"
    )
    half2: InputFile = Field(
        validation_alias=AliasChoices("half2", "h2", "i2", "half_map2"),
        description="half-map 2, the same box and voxel size",
    )
    mask: InputFile | None = Field(
        None, validation_alias=AliasChoices("mask", "mask_file"), description="mask, 0 to 1, the same box"
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if self.half1 == self.half2:
            raise ValueError(f"half1 and half2 are the same file, {self.half1}; give the two half-maps")
        return self


class Fsc3dOptions(Options):
    """Options of `map.fsc3d`."""

    limit_resolution_A: float | None = limit_field("compute")
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
    """The Fourier shell correlation of two half-maps by direction."""

    kind: Literal["map.fsc3d"] = "map.fsc3d"
    inputs: HalfMapInputs
    options: Fsc3dOptions = Field(default_factory=Fsc3dOptions)


class MapInputs(Inputs):
    """One map and, if wanted, a mask on the same grid."""

    map: InputFile = Field(
        validation_alias=AliasChoices("map", "h1", "in_name", "input"), description="the map (MRC, cubic)"
    )
    mask: InputFile | None = Field(
        None, validation_alias=AliasChoices("mask", "mask_file"), description="mask, 0 to 1, the same box"
    )


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

    kind: Literal["map.whiten"] = "map.whiten"
    inputs: MapInputs
    options: WhitenOptions = Field(default_factory=WhitenOptions)


class CombineInputs(Inputs):
    """Two maps on one grid, each good at its own resolutions."""

    low: InputFile = Field(
        validation_alias=AliasChoices("low", "low_map"), description="map to take the low resolutions from"
    )
    high: InputFile = Field(
        validation_alias=AliasChoices("high", "high_map"), description="map to take the high resolutions from"
    )
    mask: InputFile | None = Field(
        None, validation_alias=AliasChoices("mask", "mask_file"), description="where the two are put on one scale"
    )


class CombineOptions(Options):
    """Options of `map.combine`."""

    threshold_resolution_A: float = Field(
        gt=0,
        validation_alias=AliasChoices("threshold_resolution_A", "threshold_res"),
        description="resolution where one map gives way to the other, in Angstrom",
    )


class MapCombineJob(Job):
    """Low resolutions of one map, high resolutions of another."""

    kind: Literal["map.combine"] = "map.combine"
    inputs: CombineInputs
    options: CombineOptions


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
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random")


class MapPostprocessJob(Job):
    """A sharpened, FSC-weighted map of two half-maps, with the FSC corrected for the mask."""

    kind: Literal["map.postprocess"] = "map.postprocess"
    inputs: HalfMapInputs
    options: PostprocessOptions = Field(default_factory=PostprocessOptions)


class SamplingInputs(Inputs):
    """The views of a refinement."""

    particles: InputFile = Field(
        validation_alias=AliasChoices("particles", "star_file"),
        description="particles with their views: RELION .star or CryoSPARC .cs",
    )


class SamplingOptions(Options):
    """Options of `map.sampling`."""

    box: int = Field(
        ge=16, le=1024, validation_alias=AliasChoices("box", "map_dim"), description="box of the result, in voxels"
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
    symmetry: str = symmetry_field()
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random")


class MapSamplingJob(Job):
    """How densely the views of a particle set sample each direction of Fourier space."""

    kind: Literal["map.sampling"] = "map.sampling"
    inputs: SamplingInputs
    options: SamplingOptions


class CheckJob(Job):
    """See whether this machine can do the work: device, memory, a training step, disk."""

    kind: Literal["check"] = "check"
    inputs: Inputs = Field(default_factory=Inputs)
    options: Options = Field(default_factory=Options)
