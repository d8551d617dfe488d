"""`vae.volumes`: volumes of latents."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from ...envelope import Job
from ...half_maps import SMALLEST_VOXEL_A, WIDEST_VOXEL_A
from ...latent_series import USUAL_BOX, RunInputs, SeriesOptions
from ...latents import Grid, LatentValue, Members
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import Holds, InputFile

DEFAULT_GRID: Grid = ("pc1",)
_PREFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError("should be 1 to 64 letters, digits, dots, dashes or underscores, no dash or dot first")
    return text


class VolumesInputs(RunInputs):
    """A trained model, and perhaps a file of latents."""

    z_file: Annotated[InputFile, Holds("arrays", "latents")] | None = Field(
        None,
        validation_alias=AliasChoices("z_file", "zfile"),
        description="latents, one a line (.txt, .csv), or an array of them (.npy, .npz)",
    )


class VolumesOptions(SeriesOptions):
    """Options of `vae.volumes`. Of the ways to say which latents, one is taken."""

    z: LatentValue | None = Field(None, description="one latent, e.g. 0.5,-1", examples=[[0.5, -1.0]])
    z_start: LatentValue | None = Field(None, description="first latent of a straight line")
    z_end: LatentValue | None = Field(None, description="last latent of the line")
    particles: Members | None = Field(None, description="latents of these particles, from 0 on, e.g. 3,17")
    grid: Grid | None = Field(
        None,
        description="axes of a grid: principal components (pc1) or numbers of the latent (z1), each perhaps with its "
        "ends and points, e.g. pc1,pc2 or z1:-2:2:5 or pc1:1%:99%; pc1 if nothing else is given",
    )
    count: int = Field(
        10,
        ge=2,
        le=10_000,
        validation_alias=AliasChoices("count", "n"),
        description="volumes along the line, or along each axis of the grid that does not say it",
    )
    target_voxel_size_A: float | None = Field(
        None,
        ge=SMALLEST_VOXEL_A,
        le=WIDEST_VOXEL_A,
        validation_alias=AliasChoices("target_voxel_size_A", "target_apix"),
        description="resample to the even box whose voxels are nearest to this, in Angstrom",
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field("vol_", description="how the volumes' names begin")
    first_number: int = Field(
        1,
        ge=0,
        le=1_000_000,
        validation_alias=AliasChoices("first_number", "vol_start_index"),
        description="number of the first volume",
    )
    batch: int | None = Field(
        None,
        ge=1,
        le=1024,
        validation_alias=AliasChoices("batch", "batch_size"),
        description="volumes that are computed together; as many as memory and a prompt answer allow if empty",
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.z_start is None) != (self.z_end is None):
            raise ValueError("'z_start' and 'z_end' go together")
        if self.z_start is not None and self.z_end is not None and len(self.z_start) != len(self.z_end):
            raise ValueError(f"'z_start' has {len(self.z_start)} numbers, 'z_end' has {len(self.z_end)}")
        if self.box is not None and self.target_voxel_size_A is not None:
            raise ValueError("'box' and 'target_voxel_size_A' say the same in two ways; give one")
        return self


class VaeVolumesJob(Job):
    """Compute volumes of latents: of one, of a file, along a line, on a grid, or of particles."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("spread.mrc", "map", "spread", "standard deviation of the volumes, voxel by voxel", always=False),
        Output("*[0-9].mrc", "map", "volume", "a volume, numbered"),
        Output("z_values.txt", "table", "latents", "the latents, one a line, to be given again as z_file"),
        Output("volumes.csv", "table", "volumes", "latent of each volume, and how near to particles it is"),
        Output("neighbours.csv", "table", "neighbours", "how alike each volume and the next are", always=False),
        Output("volumes.cxc", "script", "script", "shows the volumes one after the other in ChimeraX"),
        REPORT,
    )

    kind: Literal["vae.volumes"] = "vae.volumes"
    inputs: VolumesInputs
    options: VolumesOptions = Field(default_factory=VolumesOptions)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        options = self.options
        ways = {
            "z_file": self.inputs.z_file,
            "z": options.z,
            "z_start": options.z_start,
            "particles": options.particles,
            "grid": options.grid,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{', '.join(given)} each say which latents; give one of them")
        return self

    def own_box(self, device: str) -> int:
        """That of the volumes, as far as the options say it; the model's own is known once it is open."""
        return max(USUAL_BOX, self.options.box or 0)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """On the host those that are compared; on the device a batch, and what making one of it takes."""
        return MemoryEstimate(REPORT_BYTES + volumes(8, box), volumes(8 + 2 * (self.options.batch or 4), box))
