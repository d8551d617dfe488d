"""`particles.to_cryosparc`: particles of RELION as a table of CryoSPARC."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...envelope import Inputs, Job, Options
from ...half_maps import MapFile, PointGroup
from ...memory import MemoryEstimate
from ...outputs import REPORT, Output
from ...particles import NO_MAP_BOX, axis_map_field, conversion_memory, group_field
from ...paths import Holds, InputFile


class ToCryosparcInputs(Inputs):
    """Particles of RELION."""

    star: Annotated[InputFile, Holds("star")] = Field(
        description="particles of RELION 3.0 to 5 (.star)", examples=["run_data.star"]
    )
    map: MapFile | None = axis_map_field()


class ToCryosparcOptions(Options):
    """Options of `particles.to_cryosparc`."""

    pixel_size_A: float | None = Field(
        None, gt=0, le=20, description="pixel size of the images, in Angstrom; as the file says if empty"
    )
    box: int | None = Field(None, ge=8, le=4096, description="box of the images, in pixels; as the file says if empty")
    symmetry: PointGroup = group_field()


class ParticlesToCryosparcJob(Job):
    """Write particles of RELION as a table of CryoSPARC (.cs), with poses, CTF, half-sets and exposure groups."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("particles.cs", "particles", "particles", "the particles, for Import Particle Stack or cryosparc-tools"),
        REPORT,
    )

    kind: Literal["particles.to_cryosparc"] = "particles.to_cryosparc"
    inputs: ToCryosparcInputs
    options: ToCryosparcOptions = Field(default_factory=ToCryosparcOptions)

    def own_box(self, device: str) -> int | None:
        """That of the map, where there is one."""
        return None if self.inputs.map else NO_MAP_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The tables and their texts, and the map."""
        return conversion_memory((self.inputs.star,), box)
