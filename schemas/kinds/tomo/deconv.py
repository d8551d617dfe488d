"""`tomo.deconv`: contrast of tomograms at low resolution, by a Wiener filter with their CTF."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job, Options
from ...memory import REPORT_BYTES, MemoryEstimate
from ...outputs import REPORT, Output
from ...paths import OutputFolder
from ...tomogram_tables import (
    TABLE,
    StoredType,
    TomogramIndices,
    TomogramTableInputs,
    block_bytes,
    stored_type_field,
    tomo_idx_field,
    update_star_field,
    without_effect_field,
)

LARGEST_BLOCK = 448
"""Side of what is transformed at once where no chunk is given, with its margin."""
OWN_CHUNK = 320
"""Side of a chunk of a larger one, where none is given."""


class DeconvOptions(Options):
    """Options of `tomo.deconv`; a number here goes before what the table says."""

    snrfalloff: float | None = Field(
        None,
        ge=0,
        le=100,
        validation_alias=AliasChoices("snrfalloff", "snr_falloff"),
        description="how fast the SNR falls with frequency; as the table says (rlnSnrFalloff), else 1, if empty",
    )
    deconvstrength: float | None = Field(
        None,
        ge=-10,
        le=10,
        validation_alias=AliasChoices("deconvstrength", "deconv_strength"),
        description="how strong, in decades of SNR; as the table says (rlnDeconvStrength), else 1, if empty. 3 here is "
        "1 in Warp",
    )
    highpassnyquist: float = Field(
        0.02,
        gt=0,
        le=1,
        validation_alias=AliasChoices("highpassnyquist", "hipassnyquest", "highpass_nyquist"),
        description="frequencies below this part of Nyquist are taken away",
    )
    voltage_kV: float | None = Field(
        None,
        gt=0,
        le=1e4,
        validation_alias=AliasChoices("voltage_kV", "voltage"),
        description="voltage, in kV; as the table says, else 300, if empty",
    )
    cs_mm: float | None = Field(
        None,
        ge=0,
        le=100,
        validation_alias=AliasChoices("cs_mm", "cs"),
        description="spherical aberration, in mm; as the table says, else 2.7, if empty",
    )
    amplitude_contrast: float | None = Field(
        None,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("amplitude_contrast", "ac"),
        description="amplitude contrast, 0 to 1; as the table says, else 0.07, if empty",
    )
    phase_shift_deg: float | None = Field(
        None,
        ge=-360,
        le=360,
        validation_alias=AliasChoices("phase_shift_deg", "phaseshift", "phase_shift"),
        description="phase shift of a phase plate, in degrees; as the table says, else 0, if empty",
    )
    phaseflipped: bool = Field(
        False,
        validation_alias=AliasChoices("phaseflipped", "phase_flipped"),
        description="the phases of the tilts were flipped before they were put together",
    )
    chunk_size: int | None = Field(
        None,
        ge=16,
        le=4096,
        description="side of the cubes that a tomogram is done in; if empty, all at once where it is small, else "
        f"{OWN_CHUNK}",
    )
    overlap_rate: float = Field(
        0.25,
        ge=0,
        le=4,
        validation_alias=AliasChoices("overlap_rate", "overlap"),
        description="by which part of its side a chunk is read larger than it is kept",
    )
    output_type: StoredType = stored_type_field()
    tomo_idx: TomogramIndices | None = tomo_idx_field()
    update_star: bool = update_star_field()
    ncpu: int | None = without_effect_field()
    input_column: Literal["rlnTomoName", "rlnMicrographName"] | None = without_effect_field()


class TomoDeconvJob(Job):
    """Deconvolve tomograms: bring back contrast at low resolution, by the defocus of each."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*_deconv.mrc", "tomogram", "deconvolved", "a deconvolved tomogram on the grey scale that it had"),
        TABLE,
        REPORT,
    )

    kind: Literal["tomo.deconv"] = "tomo.deconv"
    inputs: TomogramTableInputs
    output: OutputFolder = Field(Path("deconv"), validation_alias=AliasChoices("output", "output_dir", "deconv_folder"))
    options: DeconvOptions = Field(default_factory=DeconvOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """A chunk before and after on the host; on the device its transform and the filter, and what makes that."""
        largest = LARGEST_BLOCK
        if self.options.chunk_size is not None:
            largest = int(self.options.chunk_size * (1 + self.options.overlap_rate)) + 64
        return MemoryEstimate(REPORT_BYTES + block_bytes(3, box, largest), block_bytes(6, box, largest))
