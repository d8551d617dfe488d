"""`tomo.predict`: tomograms with their missing wedge filled by a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from ...envelope import Job, Options
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...paths import Holds, InputFile, OutputFolder
from ...tomogram_tables import (
    TABLE,
    InputColumn,
    StoredType,
    TomogramIndices,
    TomogramTableInputs,
    block_bytes,
    input_column_field,
    read_by_column,
    stored_type_field,
    tomo_idx_field,
    update_star_field,
    without_effect_field,
)

_KERNEL_BYTES = 200_000_000
_WIDEST = 64
_ARRAYS = 6
"""Arrays of the network's widest level that there are at once while it answers."""


class TomoPredictInputs(TomogramTableInputs):
    """A table of tomograms, and the network."""

    model: Annotated[InputFile, Holds("model")] = Field(
        description="model.safetensors of tomo refine, network.safetensors of tomo correct, or a .h5 of IsoNet",
        examples=["model.safetensors"],
    )


class TomoPredictOptions(Options):
    """Options of `tomo.predict`."""

    cube_size: int = Field(64, ge=2, le=1024, description="side of what each tile answers for, in voxels")
    crop_size: int = Field(
        96, ge=4, le=1024, description="side of what it sees; more of it leaves less trace of the tiles, and takes time"
    )
    overlap: int | None = Field(
        None,
        ge=1,
        le=256,
        description="voxels in which neighbouring tiles fade into each other, to each side; a quarter of what "
        "crop_size is larger than cube_size, if empty",
    )
    use_deconv_tomo: bool = Field(True, description="correct the deconvolved tomogram where there is one")
    batch_size: int | None = Field(
        None,
        ge=1,
        le=256,
        validation_alias=AliasChoices("batch_size", "batch"),
        description="tiles at a time; 4 if empty, 1 on a CPU, and fewer where memory runs out",
    )
    normalize_percentile: bool = Field(
        True,
        description="bring the 4th percentile to 0 and the 96th to 1; if not, the mean to 0 and the deviation to 1; as "
        "in the network's training where that is known and nothing is given here",
    )
    is_ctf_flipped: bool | None = Field(
        None,
        validation_alias=AliasChoices("is_ctf_flipped", "isCTFflipped", "phaseflipped"),
        description="the phases of the tilts were flipped before they were put together; as in the network's training "
        "if empty",
    )
    output_scale: Literal["input", "normalized"] = Field(
        "input",
        description="input: grey values of the tomogram itself; normalized: as IsoNet writes them, about 0 to -1",
    )
    output_type: StoredType = stored_type_field()
    output_prefix: str = Field(
        "",
        max_length=64,
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?$",
        description="put before the names of corrected tomograms",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network's arithmetic; a CPU always computes in float32"
    )
    tomo_idx: TomogramIndices | None = tomo_idx_field()
    update_star: bool = update_star_field()
    input_column: InputColumn | None = input_column_field()
    log_level: str | None = without_effect_field()
    padding_factor: float | None = without_effect_field()
    apply_mw_x1: bool | None = without_effect_field()

    def name_of_result(self, name: str) -> str:
        """The file of a tomogram, by the root of its name."""
        return f"{self.output_prefix}{name}_corrected.mrc"

    @model_validator(mode="before")
    @classmethod
    def _column(cls, options: Any) -> Any:
        return read_by_column(options)

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.crop_size < self.cube_size + 2:
            raise ValueError(
                f"crop_size {self.crop_size} must be larger than cube_size {self.cube_size}, by 2 at least: what tiles "
                "see beyond their cube keeps seams away"
            )
        return self


class TomoPredictJob(Job):
    """Fill the missing wedge of tomograms with a trained network."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*_corrected.mrc", "tomogram", "corrected", "the corrected tomogram, where the given one lies"),
        TABLE,
        REPORT,
    )

    kind: Literal["tomo.predict"] = "tomo.predict"
    inputs: TomoPredictInputs
    output: OutputFolder = Field(Path("corrected_tomos"), validation_alias=AliasChoices("output", "output_dir"))
    options: TomoPredictOptions = Field(default_factory=TomoPredictOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Slabs of the tomogram and of the result on the host; on the device a batch of tiles in the network."""
        options = self.options
        slabs = min(box, options.crop_size + options.cube_size) * 2 / box
        arrays = (options.batch_size or 4) * _ARRAYS * _WIDEST
        tiles = block_bytes(arrays, box, options.crop_size)
        return MemoryEstimate(REPORT_BYTES + volumes(slabs, box), _KERNEL_BYTES + tiles)
