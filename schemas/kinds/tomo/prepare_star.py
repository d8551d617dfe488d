"""`tomo.prepare_star`: a folder of tomograms as a table."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from ...envelope import Inputs, Job, Options
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import Holds, InputFolder
from ...star_names import StarName

NO_BOX = 16
"""No whole volume is held."""
_CUBES_BYTES = 100_000_000

TomogramFolder = Annotated[InputFolder, Holds("tomogram", "folder")]


def _listed(value: object) -> object:
    """A list out of one word or number, as a command line has it."""
    if isinstance(value, str):
        return [part for part in re.split(r"[,;\s]+", value.strip(" []()")) if part]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


Defoci = Annotated[tuple[float, ...], BeforeValidator(_listed)]
"""One number for all tomograms or one for each: a list, or one word such as 30000,28000."""


class PrepareStarInputs(Inputs):
    """Folders of tomograms, and of what belongs to them; files are matched by their names."""

    folder: TomogramFolder = Field(
        validation_alias=AliasChoices("folder", "input_folder", "full"),
        description="folder of tomograms (.mrc, .rec); with 'odd' but no 'even', of those of even tilts or frames",
        examples=["tomograms"],
    )
    even: Annotated[InputFolder, Holds("tomogram", "half1")] | None = Field(
        None, description="folder of tomograms of the even tilts or frames, beside those in 'folder'"
    )
    odd: Annotated[InputFolder, Holds("tomogram", "half2")] | None = Field(
        None, description="folder of tomograms of the odd tilts or frames"
    )
    tilt_folder: Annotated[InputFolder, Holds("tomogram", "tilts")] | None = Field(
        None, description="folder of tilt angles: .tlt, .rawtlt, AreTomo .aln, Warp .xml, SerialEM .mdoc, RELION .star"
    )
    mask_folder: Annotated[InputFolder, Holds("mask", "folder")] | None = Field(
        None, description="folder of masks of your own"
    )
    boundary_folder: Annotated[InputFolder, Holds("tomogram", "boundaries")] | None = Field(
        None, description="folder of boundaries drawn in the tomograms: IMOD .mod, or points as .txt, .csv, .json"
    )
    coordinate_folder: Annotated[InputFolder, Holds("tomogram", "coordinates")] | None = Field(
        None, description="folder of places to train at: points as .txt, .csv, .json, .mod"
    )

    @model_validator(mode="after")
    def _both_halves(self) -> Self:
        if self.even is not None and self.odd is None:
            raise ValueError("'even' needs 'odd'")
        return self


class PrepareStarOptions(Options):
    """Options of `tomo.prepare_star`."""

    output_star: StarName = Field(
        "tomograms.star", description="name of the table in the output folder, with 'tomo' in it"
    )
    pixel_size_A: float | None = Field(
        None,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("pixel_size_A", "pixel_size", "apix"),
        description="voxel size of the tomograms in Angstrom; as their headers have it if empty",
    )
    defocus_A: Defoci | None = Field(
        None,
        validation_alias=AliasChoices("defocus_A", "defocus"),
        description="defocus at 0 degrees in Angstrom, underfocus positive, one or a list in the order of the names; "
        "from the files of tilt angles if empty, else 0: no deconvolution",
    )
    number_subtomos: int = Field(
        100, ge=1, le=1_000_000, description="how many subtomograms are taken from each tomogram"
    )
    create_average: bool = Field(
        False,
        description="where there are even and odd halves but no whole tomogram, write their mean into the output "
        "folder and into the table, as the whole one",
    )
    tilt_min_deg: float | None = Field(
        None,
        ge=-90,
        le=90,
        validation_alias=AliasChoices("tilt_min_deg", "tilt_min"),
        description="lowest tilt angle, in degrees; as the files of tilt angles say if empty, else later jobs take -60",
    )
    tilt_max_deg: float | None = Field(
        None,
        ge=-90,
        le=90,
        validation_alias=AliasChoices("tilt_max_deg", "tilt_max"),
        description="highest tilt angle, in degrees; as the files of tilt angles say if empty, else later jobs take 60",
    )
    tilt_pattern: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="which files of 'tilt_folder' count, e.g. *_ali.tlt; the best of all known sorts if empty",
    )
    maker: Literal["relion", "imod", "warp", "aretomo"] = Field(
        "imod",
        description="whose program made the tomograms; angles of all four are taken alike (Warp's .xml turned), so "
        "that only 'mirrored' changes signs",
    )
    mirrored: bool = Field(
        False, description="the tomograms were mirrored along z, e.g. by trimvol -yz: the sign of tilt angles is turned"
    )
    pretilt_deg: float = Field(
        0.0,
        ge=-60,
        le=60,
        validation_alias=AliasChoices("pretilt_deg", "pretilt"),
        description="added to every tilt angle read, in degrees, where those are the stage's and tomograms level",
    )
    check_wedge: bool = Field(
        True,
        description="see in the data that the empty wedge lies about y and as the sign of the tilt range says; refuse "
        "it if it does not",
    )
    voltage_kV: float | None = Field(
        None,
        gt=0,
        le=10_000,
        validation_alias=AliasChoices("voltage_kV", "voltage"),
        description="voltage, in kV; left to later jobs (300) if empty",
    )
    cs_mm: float | None = Field(
        None,
        ge=0,
        le=100,
        validation_alias=AliasChoices("cs_mm", "cs"),
        description="spherical aberration, in mm; left to later jobs (2.7) if empty",
    )
    amplitude_contrast: float | None = Field(
        None,
        ge=0,
        le=1,
        validation_alias=AliasChoices("amplitude_contrast", "ac"),
        description="amplitude contrast, 0 to 1; left to later jobs if empty",
    )

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        lowest, highest = self.tilt_min_deg, self.tilt_max_deg
        if lowest is not None and highest is not None and lowest >= highest:
            raise ValueError(f"tilt_min_deg {lowest:g} is not below tilt_max_deg {highest:g}")
        return self


class TomoPrepareStarJob(Job):
    """Write the table of tomograms that the other jobs start from, with what headers and tilt angles say of them."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*tomo*.star", "star", "tomograms", "the table of tomograms, one a row"),
        Output("*.mrc", "tomogram", "averages", "the mean of both halves of a tomogram", always=False),
        Output("*.tlt", "table", "tilts", "tilt angles of a tomogram in one convention, in degrees", always=False),
        REPORT,
    )

    kind: Literal["tomo.prepare_star"] = "tomo.prepare_star"
    inputs: PrepareStarInputs
    options: PrepareStarOptions = Field(default_factory=PrepareStarOptions)

    @model_validator(mode="after")
    def _something_to_average(self) -> Self:
        if self.options.create_average and self.inputs.odd is None:
            raise ValueError("'create_average' has no halves to average; give the folder of the other halves as 'odd'")
        return self

    def own_box(self, device: str) -> int:
        """Of nothing: but for averages, which are made of a few sections at a time, only headers are read."""
        return NO_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The report, and cubes of one tomogram with their spectra, or sections of halves."""
        return MemoryEstimate(REPORT_BYTES + _CUBES_BYTES + volumes(1, box), volumes(1, box))
