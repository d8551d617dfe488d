"""`tomo.correct`: from a folder of tomograms to corrected ones, in one command."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from ...envelope import Inputs, Job, Options
from ...half_maps import seed_field
from ...memory import REPORT_BYTES, MemoryEstimate, training
from ...outputs import PREVIEW, REPORT, Output
from ...paths import Holds, InputFile, InputFileOrFolder, InputFolder
from ...tomogram_tables import (
    TABLE,
    StoredType,
    TomogramIndices,
    block_bytes,
    preview_every_field,
    stored_type_field,
    tomo_idx_field,
    update_star_field,
)
from ...wedge import KEPT_OUT_CUBES, WedgeOptions

Effort = Literal["quick", "standard", "careful"]
STEPS: dict[str, dict[Effort, int]] = {
    "cpu": {"quick": 0, "standard": 40, "careful": 400},
    "cuda": {"quick": 0, "standard": 400, "careful": 3000},
}
PRETRAINED_WIDTH = 12
"""Channels of the first level of the network that comes with the program."""
_MEASURED_WEIGHT = 10.0
"""Of a network that has learned before: on two tomograms of bench/tomogram_scene.py it correlated by .899 with what was
measured then, with a weight of 1 by .893, untouched by .894."""
LARGEST_BLOCK = 256
"""Side of what is transformed at once of a tomogram that is not taken whole, with its margin."""
_ARRAYS = 34
_LOOKED_AT_EVERY = 40
"""Steps between two looks at cubes that were kept out."""


class CorrectTomogramInputs(Inputs):
    """Tomograms, best with their even and odd halves, and what belongs to them."""

    tomograms: Annotated[InputFileOrFolder, Holds("tomogram", "folder")] = Field(
        validation_alias=AliasChoices("tomograms", "folder", "star", "star_file", "input_folder", "full"),
        description="folder of tomograms (.mrc, .rec), or a table of them (.star: IsoNet's, IsoNet2's, RELION 5's); "
        "with 'odd' but no 'even', the folder of those of even tilts or frames",
        examples=["tomograms"],
    )
    even: Annotated[InputFolder, Holds("tomogram", "half1")] | None = Field(
        None, description="folder of tomograms of the even tilts or frames, beside those in 'tomograms'"
    )
    odd: Annotated[InputFolder, Holds("tomogram", "half2")] | None = Field(
        None, description="folder of tomograms of the odd tilts or frames"
    )
    tilt_folder: Annotated[InputFolder, Holds("tomogram", "tilts")] | None = Field(
        None, description="folder of tilt angles: .tlt, .rawtlt, AreTomo .aln, Warp .xml, SerialEM .mdoc, RELION .star"
    )
    network: Annotated[InputFile, Holds("model")] | None = Field(
        None, description="network.safetensors of an earlier tomo.correct to start from, in place of the one that comes"
    )


class CorrectTomogramOptions(Options):
    """Options of `tomo.correct`."""

    effort: Effort = Field(
        "standard",
        description="quick: the network that comes with the program, untouched; standard: it also learns from these "
        "tomograms for a short time, and a held-out wedge says which does better; careful: for a longer time",
    )
    steps: int | None = Field(None, ge=0, description="training steps of each trial; as 'effort' says if empty")
    ensemble: int = Field(
        1,
        ge=1,
        le=8,
        description="networks from different seeds, all trained as the one that did best; the mean of their answers is "
        "the result, and the page says how far they differ",
    )
    start: Literal["pretrained", "untrained"] = Field(
        "pretrained", description="begin with the network that comes with the program, or with one that knows nothing"
    )
    tomo_idx: TomogramIndices | None = tomo_idx_field()
    pixel_size_A: float | None = Field(
        None,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("pixel_size_A", "pixel_size", "apix"),
        description="voxel size in Angstrom, of tomograms in a folder; as their headers have it if empty",
    )
    tilt_min_deg: float | None = Field(
        None,
        ge=-90,
        le=90,
        validation_alias=AliasChoices("tilt_min_deg", "tilt_min"),
        description="lowest tilt angle, in degrees; as the table or the files of tilt angles say if empty, else -60",
    )
    tilt_max_deg: float | None = Field(
        None,
        ge=-90,
        le=90,
        validation_alias=AliasChoices("tilt_max_deg", "tilt_max"),
        description="highest tilt angle, in degrees; as the table or the files of tilt angles say if empty, else 60",
    )
    maker: Literal["relion", "imod", "warp", "aretomo"] = Field(
        "imod", description="whose program made the tomograms; it decides the sign of tilt angles"
    )
    mirrored: bool = Field(
        False, description="the tomograms were mirrored along z: the sign of tilt angles that are read is turned"
    )
    check_wedge: bool = Field(
        True,
        description="see in the data that the empty wedge lies where the tilt range says; refuse it if it does not",
    )
    within_mask: bool = Field(
        True, description="learn where a row's mask is, if it has one; all of a tomogram is corrected"
    )
    base_width: int | None = Field(
        None,
        ge=2,
        le=64,
        description="channels of an untrained network's first level; 8 on a CPU, 32 on a GPU if empty",
    )
    cube_size: int = Field(32, ge=16, le=128, multiple_of=8, description="side of training cubes, in reduced voxels")
    batch: int = Field(4, ge=2, le=64, multiple_of=2, description="cubes per step")
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="of AdamW; 5e-4 from a trained network, 2e-3 from an untrained one, if empty"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="end a trial after so many looks, one every 40 steps, without a better loss of cubes kept out",
    )
    output_type: StoredType = stored_type_field()
    seed: int = seed_field()
    update_star: bool = update_star_field()
    checkpoint_every_s: float = Field(60.0, ge=0, description="seconds between two checkpoints of a training")
    preview_every_s: float = preview_every_field()

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        lowest, highest = self.tilt_min_deg, self.tilt_max_deg
        if lowest is not None and highest is not None and lowest >= highest:
            raise ValueError(f"tilt_min_deg {lowest:g} is not below tilt_max_deg {highest:g}")
        if self.start == "untrained" and self.steps is None and self.effort == "quick":
            raise ValueError("start 'untrained' learns nothing at effort 'quick'; choose 'standard' or give 'steps'")
        if self.ensemble > 1 and (self.steps == 0 or (self.steps is None and self.effort == "quick")):
            raise ValueError(
                f"an ensemble of {self.ensemble} is of networks that were trained from different seeds, and nothing is "
                "trained here; choose effort 'standard' or 'careful', give 'steps', or leave 'ensemble' out"
            )
        return self

    def wedge_options(self, device: str, base_width: int | None = None) -> WedgeOptions:
        """How a network learns on a device ("cpu" or "cuda"); one that has learned before keeps its width."""
        chosen: dict[str, Any] = {"cube_size": self.cube_size, "batch": self.batch, "seed": self.seed}
        width = base_width or self.base_width or (8 if device == "cpu" else 32)
        rate = self.learning_rate or (2e-3 if base_width is None else 5e-4)
        steps = STEPS[device][self.effort] if self.steps is None else self.steps
        # One that knows nothing has all of it to learn from these tomograms.
        longer = 4 if base_width is None and self.steps is None else 1
        precision = "bfloat16" if device == "cuda" else "float32"
        if self.patience is not None:
            chosen |= {"patience": self.patience, "held_out": KEPT_OUT_CUBES, "held_out_every": _LOOKED_AT_EVERY}
        return WedgeOptions(
            **chosen,
            base_width=width,
            learning_rate=rate,
            steps=steps * longer,
            precision=precision,
            weight_decay=1e-4,
            measured_weight=1.0 if base_width is None else _MEASURED_WEIGHT,
        )


class TomoCorrectJob(Job):
    """Correct tomograms for the missing wedge: a folder in, corrected tomograms and how far to believe them out."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("*_corrected.mrc", "tomogram", "corrected", "a tomogram with its wedge filled, where and as it was"),
        TABLE,
        Output("*.tlt", "table", "tilts", "tilt angles of a tomogram in one convention, in degrees", always=False),
        Output("network.safetensors", "model", "network", "the network that was used, of several the first"),
        Output("network_*.safetensors", "model", "network_of_ensemble", "the others of an ensemble", always=False),
        Output("held_out.csv", "table", "held_out", "what was filled into held-out sectors against what was measured"),
        PREVIEW,
        REPORT,
    )

    kind: Literal["tomo.correct"] = "tomo.correct"
    inputs: CorrectTomogramInputs
    options: CorrectTomogramOptions = Field(default_factory=CorrectTomogramOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Blocks with their views, a training step, and a block at the tomogram's own voxels."""
        wedge = self.options.wedge_options(device.split(":")[0], PRETRAINED_WIDTH)
        learned = training(wedge.batch, wedge.cube_size, wedge.base_width)
        return MemoryEstimate(
            REPORT_BYTES + block_bytes(8, box, LARGEST_BLOCK), learned + block_bytes(_ARRAYS, box, 192)
        )
