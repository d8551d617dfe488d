"""`particles.downsample`: images of particles, or a volume, at a smaller box."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Inputs, Job, Options
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...particle_images import ImagesFile
from ...particles import bytes_of_tables
from ...paths import Holds, InputFile, InputFiles, RootFolder

BATCH_BYTES = 64 << 20
"""Of images as they are stored, which are held at a time."""
_TIMES_A_BATCH = 6
"""Its transform, the crop of it, and the result."""


class DownsampleInputs(Inputs):
    """Images of particles, or a volume."""

    particles: ImagesFile = Field(
        validation_alias=AliasChoices("particles", "mrcs", "input"),
        description="particles: RELION .star, CryoSPARC .cs, .txt with a stack a line, a stack, or a volume",
        examples=["particles.star"],
    )
    passthrough: Annotated[InputFiles, Holds("particles", "passthrough")] | None = Field(
        None, description="passthrough files of the same CryoSPARC job (.cs); joined on 'uid'"
    )
    selection: Annotated[InputFile, Holds("arrays", "selection")] | None = Field(
        None,
        validation_alias=AliasChoices("selection", "ind"),
        description="which particles to take: indices from 0 on (.npz, .npy, .txt, or cryoDRGN's .pkl)",
    )
    datadir: Annotated[RootFolder, Holds("project")] | None = Field(
        None,
        description="folder that the stacks' paths start at, or that the stacks lie in, where they are not found as "
        "written or beside the table",
    )


class DownsampleOptions(Options):
    """Options of `particles.downsample`."""

    box: int = Field(
        ge=2,
        le=16384,
        multiple_of=2,
        validation_alias=AliasChoices("box", "D"),
        description="new box, in pixels; even",
        examples=[128],
    )
    is_volume: bool = Field(
        False, validation_alias=AliasChoices("is_volume", "is_vol"), description="the input is a volume"
    )
    flip: bool = Field(False, description="of a volume: mirror it along z, for the other hand")
    invert: bool = Field(False, description="of a volume: density that was bright becomes dark")
    chunk: int | None = Field(
        None,
        ge=1,
        description="images in a stack, for several stacks and a list of them (particles.txt); all in one if empty",
    )
    batch: int | None = Field(
        None,
        ge=1,
        validation_alias=AliasChoices("batch", "b"),
        description="images that are held at a time; as many as take 64 MiB if empty",
    )
    scale: Literal["sum", "mean"] = Field(
        "sum",
        description="sum: values grow as pixels are put together, by (old box / new box)^2, as cryoDRGN's do; mean: "
        "they stay as large as they are",
    )
    half_precision: bool = Field(False, description="write stacks in float16 (MRC mode 12), at half the size")
    pixel_size_A: float | None = Field(
        None,
        gt=0,
        le=100,
        validation_alias=AliasChoices("pixel_size_A", "Apix", "apix"),
        description="pixel size of the input, in Angstrom; as it says if empty",
    )


class ParticlesDownsampleJob(Job):
    """Make images of particles, or a volume, smaller by a crop in Fourier space; their table goes with them."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("particles*.mrcs", "images", "images", "the images at the new box", always=False),
        Output(
            "particles.star", "particles", "particles_star", "the table, every other column as it was", always=False
        ),
        Output("particles.cs", "particles", "particles_cs", "the table, every other column as it was", always=False),
        Output("particles.txt", "table", "stacks", "the stacks, one a line", always=False),
        Output("volume.mrc", "map", "volume", "the volume at the new box", always=False),
        REPORT,
    )

    kind: Literal["particles.downsample"] = "particles.downsample"
    inputs: DownsampleInputs
    options: DownsampleOptions

    def own_box(self, device: str) -> int:
        """The new one; that of the images is not known before they are looked at."""
        return self.options.box

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """A batch and its transform, whatever the number of images, and their tables; of a volume all of it."""
        whole = volumes(4, box)
        tables = bytes_of_tables((self.inputs.particles, *(self.inputs.passthrough or ())))
        return MemoryEstimate(REPORT_BYTES + tables + 2 * BATCH_BYTES + whole, _TIMES_A_BATCH * BATCH_BYTES + whole)
