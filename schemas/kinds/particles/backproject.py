"""`particles.backproject`: a map and two half-maps of particles whose poses are known."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from ...envelope import Job
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...particle_images import ImageInputs, ImageOptions
from ...tilt_series import TiltSeriesOptions

_USUAL_BOX = 256
"""Box by which memory is reckoned where none was chosen."""
_READING_BYTES = 500_000_000
"""What reading, preparing and adding a chunk of images takes, measured with images of 128 pixels; chunks are of one
size in bytes."""
_PROBE_BYTES = 9_500
"""For each pixel of the box: spectra and CTF of the images that are looked at first, twice."""

CtfChoice = Literal["multiply", "flip"]


def _ours(value: Any) -> Any:
    """The short word of cryoDRGN, in full."""
    return "multiply" if value == "mul" else value


class BackprojectOptions(ImageOptions, TiltSeriesOptions):
    """Options of `particles.backproject`."""

    box: int | None = Field(
        None,
        ge=16,
        le=2048,
        multiple_of=2,
        validation_alias=AliasChoices("box", "D"),
        description="box of the maps in voxels, images are cropped to it in Fourier space; the images' own if empty",
    )
    first: int | None = Field(None, ge=2, description="use only so many images, the first ones")
    ctf_use: Annotated[CtfChoice, BeforeValidator(_ours)] = Field(
        "multiply",
        validation_alias=AliasChoices("ctf_use", "ctf_alg"),
        description="multiply: multiply images with the CTF and divide by its squares (cryoDRGN's mul); flip: flip "
        "phases only",
    )
    regularisation: float | None = Field(
        None,
        ge=0,
        le=100,
        validation_alias=AliasChoices("regularisation", "reg_weight"),
        description="so many mean counts are added to the counts of every voxel (cryoDRGN takes 1); found from the "
        "half-maps if empty",
    )
    half_sets: Literal["table", "alternate"] = Field(
        "table", description="table: the half-sets of the table, if it has them; alternate: every other particle"
    )
    half_maps: bool = Field(True, description="write the half-maps too")
    sums: bool = Field(
        False,
        validation_alias=AliasChoices("sums", "output_sumcount"),
        description="write the sums and counts of both half-sets too",
    )
    tilts_per_particle: int | None = Field(
        None,
        ge=1,
        validation_alias=AliasChoices("tilts_per_particle", "ntilts"),
        description="of tilt series: so many images of each particle, those of the lowest dose first; all if empty",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of random phases")


class ParticlesBackprojectJob(Job):
    """Backproject images with known poses into a map and two half-maps, and say whether poses and CTF fit them."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("backproject.mrc", "map", "map", "the map of all images"),
        Output("half1.mrc", "half_map", "half1", "half-map 1", always=False),
        Output("half2.mrc", "half_map", "half2", "half-map 2", always=False),
        Output("mask.mrc", "mask", "mask", "the tight mask that the FSC was measured with", always=False),
        Output("fsc.csv", "table", "fsc", "FSC by shell: unmasked, in a sphere, loose and tight masks, corrected"),
        Output("directional.csv", "table", "directions", "resolution by direction", always=False),
        Output("views.csv", "table", "views", "density of views by direction"),
        Output("sums.npz", "arrays", "sums", "sums and counts of both half-sets by Fourier voxel", always=False),
        Output("backproject.cxc", "script", "script", "shows the map in ChimeraX"),
        REPORT,
    )

    kind: Literal["particles.backproject"] = "particles.backproject"
    inputs: ImageInputs
    options: BackprojectOptions = Field(default_factory=BackprojectOptions)

    def own_box(self, device: str) -> int:
        """That of the maps, or a usual one where the images decide."""
        return self.options.box or _USUAL_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Maps and what is drawn on the host; on the device sums of two half-sets, maps, and images."""
        return MemoryEstimate(REPORT_BYTES + volumes(8, box), _READING_BYTES + _PROBE_BYTES * box**2 + volumes(30, box))
