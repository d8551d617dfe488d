"""`particles.parse`: poses and CTF parameters of a table of particles, as plain arrays."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from ...envelope import Inputs, Job, Options
from ...memory import MemoryEstimate
from ...outputs import REPORT, Output
from ...particles import NO_MAP_BOX, conversion_memory
from ...paths import Holds, InputFile, InputFiles, RootFolder


def _named_alignment(value: Any) -> Any:
    """What a switch of cryoDRGN's means: `--abinit` and `--hetrefine` take alignments of classes."""
    return {True: "classes", False: "refinement"}.get(value, value) if isinstance(value, bool) else value


class ParseInputs(Inputs):
    """A table of particles."""

    particles: Annotated[InputFile, Holds("particles", parts=("?ctf", "?views"))] = Field(
        validation_alias=AliasChoices("particles", "input"),
        description="particles: RELION .star (3.0 to 5), or CryoSPARC .cs",
        examples=["particles.star"],
    )
    passthrough: Annotated[InputFiles, Holds("particles", "passthrough")] | None = Field(
        None, description="passthrough files of the same CryoSPARC job (.cs); joined on 'uid'"
    )
    datadir: Annotated[RootFolder, Holds("project")] | None = Field(
        None, description="folder that the stacks lie in; if given, they must be there and fit the table"
    )


class ParseOptions(Options):
    """Options of `particles.parse`; a number here goes before what the table says."""

    alignment: Annotated[Literal["refinement", "classes", "none"], BeforeValidator(_named_alignment)] = Field(
        "refinement",
        validation_alias=AliasChoices("alignment", "abinit", "hetrefine"),
        description="refinement: poses of a 3D refinement; classes: those of each particle's most probable class (.cs "
        "of ab-initio, heterogeneous refinement, 3D classification); none: CTF alone",
    )
    box: int | None = Field(
        None,
        ge=2,
        le=16384,
        validation_alias=AliasChoices("box", "D"),
        description="box of the images, in pixels; as the table says if empty",
    )
    pixel_size_A: float | None = Field(
        None,
        gt=0,
        le=100,
        validation_alias=AliasChoices("pixel_size_A", "Apix", "apix"),
        description="pixel size of the images, in Angstrom; as the table says if empty",
    )
    voltage_kV: float | None = Field(
        None,
        gt=0,
        le=1e4,
        validation_alias=AliasChoices("voltage_kV", "kv"),
        description="voltage, in kV; as the table says if empty",
    )
    cs_mm: float | None = Field(
        None,
        ge=-100,
        le=100,
        validation_alias=AliasChoices("cs_mm", "cs"),
        description="spherical aberration, in mm; as the table says if empty",
    )
    amplitude_contrast: float | None = Field(
        None,
        ge=0,
        le=1,
        validation_alias=AliasChoices("amplitude_contrast", "w"),
        description="amplitude contrast, 0 to 1; as the table says if empty",
    )
    phase_shift_deg: float | None = Field(
        None,
        ge=-360,
        le=360,
        validation_alias=AliasChoices("phase_shift_deg", "ps"),
        description="phase shift of a phase plate, in degrees; as the table says, else 0, if empty",
    )
    legacy: bool = Field(False, description="also write pose.pkl and ctf.pkl, which cryoDRGN reads")


class ParticlesParseJob(Job):
    """Write poses and CTF parameters of particles as plain arrays, and show how views and defoci are spread."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("particles.npz", "arrays", "particles", "poses, CTF and where each image lies, units in the names"),
        Output("pose.pkl", "arrays", "poses", "rotations, and shifts in parts of the box, for cryoDRGN", always=False),
        Output("ctf.pkl", "arrays", "ctf", "CTF parameters (N, 9) for cryoDRGN", always=False),
        Output("defocus.csv", "table", "defocus", "how many particles have which defocus", always=False),
        Output("ctf.csv", "table", "ctf_curve", "CTF of the particle of median defocus", always=False),
        REPORT,
    )

    kind: Literal["particles.parse"] = "particles.parse"
    inputs: ParseInputs
    options: ParseOptions = Field(default_factory=ParseOptions)

    def own_box(self, device: str) -> int:
        """Of nothing: no map is read or made."""
        return NO_MAP_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The tables and their texts."""
        return conversion_memory((self.inputs.particles, *(self.inputs.passthrough or ())), box)
