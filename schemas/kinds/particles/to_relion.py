"""`particles.to_relion`: particles of CryoSPARC as a STAR file of RELION."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...envelope import Inputs, Job, Options
from ...half_maps import MapFile, PointGroup
from ...memory import MemoryEstimate
from ...outputs import REPORT, Output
from ...particles import NO_MAP_BOX, axis_map_field, conversion_memory, group_field
from ...paths import Holds, InputFile, InputFiles, RootFolder


class ToRelionInputs(Inputs):
    """A job's table of particles, and what it passed through."""

    particles: Annotated[InputFile, Holds("particles", parts=("images", "?ctf", "?views", "?location"))] = Field(
        description="particles of CryoSPARC (.cs)", examples=["J42_particles.cs"]
    )
    passthrough: Annotated[InputFiles, Holds("particles", "passthrough")] | None = Field(
        None, description="passthrough files of the same job (.cs); joined on 'uid', the particles' own slots first"
    )
    project: Annotated[RootFolder, Holds("project")] | None = Field(
        None, description="folder of the CryoSPARC project: its stacks are linked under names that RELION takes (.mrcs)"
    )
    map: MapFile | None = axis_map_field()


class ToRelionOptions(Options):
    """Options of `particles.to_relion`."""

    alignment: Literal["refinement", "classes", "none"] = Field(
        "refinement",
        description="refinement: poses and shifts of a 3D refinement; classes: those of each particle's most probable "
        "class of a 3D classification; none: neither",
    )
    symmetry: PointGroup = group_field()


class ParticlesToRelionJob(Job):
    """Write particles of CryoSPARC as a STAR file of RELION 3.1 and later: poses, CTF, half-sets, optics groups."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("particles.star", "particles", "particles", "the particles, with optics groups (RELION 3.1 and later)"),
        REPORT,
    )

    kind: Literal["particles.to_relion"] = "particles.to_relion"
    inputs: ToRelionInputs
    options: ToRelionOptions = Field(default_factory=ToRelionOptions)

    def own_box(self, device: str) -> int | None:
        """That of the map, where there is one."""
        return None if self.inputs.map else NO_MAP_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The tables and their texts, and the map."""
        return conversion_memory((self.inputs.particles, *(self.inputs.passthrough or ())), box)
