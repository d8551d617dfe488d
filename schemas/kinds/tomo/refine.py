"""`tomo.refine`: a network learns from subtomograms, or from tomograms themselves, what their missing wedge hides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, model_validator

from ...envelope import Inputs, Job, Options
from ...isonet_words import ctf_treatment, pool_window, refine_method
from ...memory import REPORT_BYTES, MemoryEstimate, training, volumes
from ...number_lists import NumberList, SizeTriple, listed_numbers
from ...outputs import PREVIEW, REPORT, Output
from ...paths import Holds, InputFile, OutputFolder
from ...tomogram_tables import (
    InputColumn,
    TomogramIndices,
    block_bytes,
    input_column_field,
    preview_every_field,
    read_by_column,
    tomo_idx_field,
    without_effect_field,
)
from ...validation import input_invalid

Method = Literal["isonet", "isonet2", "n2n", "n2n-mw"]

NETWORK_NAME, STATE_NAME = "model.safetensors", "refine.json"
NETWORK_OPTIONS = (
    "filter_base",
    "unet_depth",
    "convs_per_depth",
    "kernel",
    "pool",
    "drop_out",
    "batch_normalization",
)
"""What a network that is given decides by itself."""
WITHOUT_EFFECT = (
    "data_dir",
    "noise_dir",
    "preprocessing_ncpus",
    "remove_intermediate",
    "log_level",
    "arch",
    "loss_func",
    "learning_rate_min",
    "save_interval",
    "apply_mw_x1",
    "do_phaseflip_input",
    "mixed_precision",
    "with_preview",
    "prev_tomo_idx",
)
OF_ISONET = (
    *NETWORK_OPTIONS,
    "iterations",
    "select_subtomo_number",
    "normalize_percentile",
    "noise_level",
    "noise_start_iter",
    "noise_mode",
)
"""What only the method `isonet` asks for."""
ON_THE_FLY = (
    "steps",
    "base_width",
    "cube_size",
    "mw_weight",
    "random_rot_weight",
    "ctf_mode",
    "is_ctf_flipped",
    "snrfalloff",
    "deconvstrength",
    "highpassnyquist",
    "bfactor",
    "clip_first_peak_mode",
    "use_deconv_tomo",
    "input_column",
    "within_mask",
    "tomo_idx",
)
"""What only the others ask for."""
_NETWORK, _NOISE, _PEER = "Network", "Noise", "Of IsoNet, without effect here"
_GROUPS = {
    **dict.fromkeys(NETWORK_OPTIONS, _NETWORK),
    **dict.fromkeys(("noise_level", "noise_start_iter", "noise_mode"), _NOISE),
    **dict.fromkeys(WITHOUT_EFFECT, _PEER),
    **dict.fromkeys(ON_THE_FLY, "Straight from tomograms"),
}
_TYPICAL_SUBTOMOGRAMS = 100
_CUBE, _WIDTH = 32, 32
_LARGEST_BLOCK, _ARRAYS = 256, 34


class TomoRefineInputs(Inputs):
    """Subtomograms or tomograms to learn from, and what was learned before."""

    subtomos: Annotated[InputFile, Holds("star", "subtomograms")] = Field(
        validation_alias=AliasChoices("subtomos", "subtomo_star", "star", "star_file", "tomograms"),
        description="table (.star): of subtomograms (of tomo extract or tomo prepare_subtomo_star) for the method "
        "isonet, of tomograms for the others",
        examples=["subtomo.star"],
    )
    pretrained_model: Annotated[InputFile, Holds("model")] | None = Field(
        None,
        description="network to start from: model.safetensors of an earlier refine by the same sort of method, a .h5 "
        "of IsoNet, or, for tomograms, network.safetensors of tomo correct",
    )
    continue_from: Annotated[InputFile, Holds("model", "state")] | None = Field(
        None,
        description="refine.json or model.safetensors of an earlier refine, or a refine_iterNN.json of IsoNet: goes on "
        "after its last iteration with all its settings but those that are given here",
    )

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.pretrained_model is not None and self.continue_from is not None:
            raise ValueError("'continue_from' brings its own network; leave 'pretrained_model' out")
        return self


class TomoRefineOptions(Options):
    """Options of `tomo.refine`, under IsoNet's names; those of its network are ignored where a network is given."""

    method: Annotated[Method | None, BeforeValidator(refine_method)] = Field(
        None,
        description="isonet: the published one on subtomograms, each iteration fills the wedge by the network before "
        "it; the others learn straight from tomograms: isonet2 from one map of each, n2n from one half towards the "
        "other, n2n-mw (isonet2-n2n) so with more weight on the wedge. If empty, as the table is: isonet for "
        "subtomograms, n2n-mw for tomograms with halves, else isonet2",
    )
    iterations: int = Field(
        30,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("iterations", "iter"),
        description="how many times the wedge is filled anew, those before 'continue_from' counted",
    )
    epochs: int = Field(
        10, ge=1, le=10_000, description="passes, of an iteration if there are any, of steps_per_epoch steps each"
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=256,
        validation_alias=AliasChoices("batch_size", "batch"),
        description="subtomograms or cubes in a step; 4, or 2 for each GPU where that is more, if empty",
    )
    steps_per_epoch: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="steps of an epoch; 6 / batch_size for each subtomogram, up to 200, if empty; from tomograms 300 "
        "on a GPU, 40 on a CPU",
    )
    select_subtomo_number: int | None = Field(
        None, ge=1, description="how many subtomograms an iteration draws and learns from; all if empty"
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of Adam; 4e-4 if empty; from tomograms 2e-3, or 5e-4 for a network that has learned before",
    )
    normalize_percentile: bool = Field(
        True,
        description="bring the 4th percentile to 0 and the 96th to 1; if not, the mean to 0 and the deviation to 1",
    )
    tilt_min_deg: float | None = Field(
        None,
        ge=-90,
        le=90,
        validation_alias=AliasChoices("tilt_min_deg", "tilt_min"),
        description="lowest tilt; as the table says (rlnTiltMin), else -60, if empty",
    )
    tilt_max_deg: float | None = Field(
        None,
        ge=-90,
        le=90,
        validation_alias=AliasChoices("tilt_max_deg", "tilt_max"),
        description="highest tilt; as the table says (rlnTiltMax), else 60, if empty",
    )
    noise_level: NumberList = Field(
        "0.05,0.1,0.15,0.2",
        description="noise that is added for denoising, as a part of the data's deviation, from each iteration of "
        "noise_start_iter on; 0 for none",
    )
    noise_start_iter: NumberList = Field("11,16,21,26", description="iterations from which each noise_level counts")
    noise_mode: Literal["noFilter", "ramp", "hamming"] | None = Field(
        None,
        description="how the noise was back-projected: noFilter, ramp, or hamming; noFilter if empty",
    )
    filter_base: int = Field(64, ge=1, le=512, description="channels of the uppermost level")
    unet_depth: int = Field(3, ge=1, le=6, description="how often the volume is halved")
    convs_per_depth: int = Field(3, ge=1, le=8, description="convolutions of a level")
    kernel: SizeTriple = Field("3,3,3", description="their size, one number or z,y,x")
    pool: Annotated[SizeTriple | None, BeforeValidator(pool_window)] = Field(
        None, description="window of a maximum in place of convolutions of stride 2; true means 2,2,2"
    )
    drop_out: float = Field(0.3, ge=0, lt=1, description="share of values that a step sets to 0")
    batch_normalization: bool = Field(True, description="normalise over the batch")
    steps: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="steps altogether, those before 'continue_from' counted, in place of epochs",
    )
    base_width: int | None = Field(
        None, ge=2, le=64, description="channels of the network's first level; 8 on a CPU, 32 on a GPU if empty"
    )
    cube_size: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="side of what is learned from, in voxels of the tomograms; 32 of the voxels that they are reduced "
        "to, which keep all that is above noise, if empty",
    )
    mw_weight: float | None = Field(
        None,
        ge=-1,
        le=1e6,
        description="how many times as much as what was seen that counts which was taken away by a second wedge; 20 "
        "for n2n-mw, 4 for isonet2 if empty; -1 for no difference",
    )
    random_rot_weight: float = Field(
        0.2, ge=0, le=1, description="share of cubes turned by any angle; the others by rotations of the cube"
    )
    ctf_mode: Annotated[Literal["none", "phase_only", "wiener", "network"], BeforeValidator(ctf_treatment)] = Field(
        "none",
        validation_alias=AliasChoices("ctf_mode", "CTF_mode"),
        description="phase_only: the phases of tomograms are flipped, by the defocus of the table; network: and the "
        "network learns to answer as if no CTF had weakened them; wiener: tomograms are read deconvolved, as by tomo "
        "deconv, here and in tomo predict; none: the CTF is left as it is",
    )
    is_ctf_flipped: bool = Field(
        False,
        validation_alias=AliasChoices("is_ctf_flipped", "isCTFflipped", "phaseflipped"),
        description="the phases of the tilts were flipped before they were put together",
    )
    clip_first_peak_mode: int = Field(
        1,
        ge=0,
        le=1,
        description="of ctf_mode network: 1 for taking the CTF below its first peak as that is; 0 for the CTF itself",
    )
    snrfalloff: float = Field(
        0.0, ge=0, le=100, description="of ctf_mode wiener: how fast the SNR falls with frequency; 0 for not at all"
    )
    deconvstrength: float = Field(1.0, ge=-10, le=10, description="of ctf_mode wiener: how strong, in decades of SNR")
    highpassnyquist: float = Field(
        0.02, gt=0, le=1, description="of ctf_mode wiener: frequencies below this part of Nyquist are taken away"
    )
    bfactor: float = Field(
        0.0,
        ge=0,
        le=1000,
        validation_alias=AliasChoices("bfactor", "bfactor_A2"),
        description="B, in A^2, of a sharpening: the network learns from, and tomo predict writes, tomograms whose "
        "amplitudes are multiplied by exp(B f^2 / 4), once, up to the frequency f from which on halves agree by less "
        "than a third; beyond it noise is left as it is. 200 to 300 for isolated particles, 0 for cells",
    )
    use_deconv_tomo: bool = Field(True, description="isonet2 learns from the deconvolved tomogram where there is one")
    input_column: InputColumn | None = input_column_field()
    within_mask: bool = Field(True, description="learn where a row's mask is, if it has one")
    tomo_idx: TomogramIndices | None = tomo_idx_field()
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network's arithmetic; a CPU always computes in float32"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="end an iteration, or a training straight from a table, after so many epochs without a better "
        "loss of what was kept out",
    )
    checkpoint_every_s: float = Field(120.0, gt=0, description="seconds between two checkpoints of the work")
    preview_every_s: float = preview_every_field()
    data_dir: str | None = Field(None, description="no pairs are written to the disk")
    noise_dir: str | None = Field(None, description="noise is made when it is needed")
    preprocessing_ncpus: int | None = Field(None, description="pairs are made on the device")
    remove_intermediate: bool | None = Field(None, description="nothing of that sort is written")
    log_level: str | None = Field(None, description="the log says what there is to say")
    arch: str | None = Field(None, description="there is one network; see base_width")
    loss_func: str | None = Field(None, description="errors are squared, and weighted by what is signal")
    learning_rate_min: float | None = Field(None, description="how the learning rate goes on is fixed")
    save_interval: int | None = Field(None, description="see checkpoint_every_s")
    apply_mw_x1: bool | None = Field(None, description="the wedge is always taken from what is shown")
    do_phaseflip_input: bool | None = Field(None, description="see is_ctf_flipped")
    mixed_precision: bool | None = Field(None, description="see precision")
    with_preview: bool | None = Field(None, description="see preview_every_s")
    prev_tomo_idx: TomogramIndices | None = without_effect_field()

    @classmethod
    def group_of(cls, field: str) -> str:
        """Network, noise, and what means nothing here."""
        return _GROUPS.get(field, "")

    @property
    def noise_levels(self) -> tuple[float, ...]:
        """Of each start; one number stands for all."""
        levels = listed_numbers(self.noise_level)
        return levels * len(self.noise_starts) if len(levels) == 1 else levels

    @property
    def noise_starts(self) -> tuple[int, ...]:
        """Iterations, counted from 1."""
        return tuple(int(one) for one in listed_numbers(self.noise_start_iter))

    @classmethod
    def continued(cls, stored: Mapping[str, Any], chosen: TomoRefineOptions, source: str) -> TomoRefineOptions:
        """The options of an earlier training with those that were chosen now in their place.

        Parameters
        ----------
        stored
            As they were written; what is no option of ours, as some of IsoNet's own, is left out.
        chosen
            Of this job; only what was given counts.
        source
            Where `stored` comes from, for the message.

        Raises
        ------
        OptionsInvalid
            If they do not go together.
        """
        known = {name: value for name, value in stored.items() if name in cls.model_fields}
        given = chosen.model_dump(exclude_unset=True)
        try:
            return cls.model_validate({**known, **given})
        except ValidationError as error:
            raise input_invalid(error, cls, source) from error

    @model_validator(mode="before")
    @classmethod
    def _column(cls, options: Any) -> Any:
        return read_by_column(options)

    @model_validator(mode="after")
    def _schedule_and_tilts(self) -> Self:
        levels, starts = listed_numbers(self.noise_level), listed_numbers(self.noise_start_iter)
        if any(level < 0 for level in levels):
            raise ValueError("a noise_level is below 0")
        if any(start != int(start) or start < 0 for start in starts) or list(starts) != sorted(set(starts)):
            raise ValueError("noise_start_iter should be whole numbers in ascending order")
        if len(levels) not in (1, len(starts)):
            raise ValueError(f"{len(levels)} numbers of noise_level, {len(starts)} of noise_start_iter; give as many")
        lowest = -60.0 if self.tilt_min_deg is None else self.tilt_min_deg
        highest = 60.0 if self.tilt_max_deg is None else self.tilt_max_deg
        if lowest >= highest:
            raise ValueError(f"tilt_min_deg {lowest:g} is not below tilt_max_deg {highest:g}")
        if self.method == "n2n" and self.mw_weight not in (None, -1.0, 1.0):
            raise ValueError(f"mw_weight {self.mw_weight:g} is of the method n2n-mw; choose that, or leave it out")
        return self


class TomoRefineJob(Job):
    """Train a network to fill the missing wedge of subtomograms or tomograms."""

    shares_devices: ClassVar[bool] = True
    outputs: ClassVar[tuple[Output, ...]] = (
        Output(NETWORK_NAME, "model", "model", "the trained network with its settings, for tomo.predict"),
        Output(STATE_NAME, "log", "state", "all settings and losses, for 'continue_from'"),
        Output("loss.csv", "table", "loss", "losses by iteration and epoch, or by step"),
        Output(
            "held_out.csv",
            "table",
            "held_out",
            "what was filled into held-out sectors against what was measured",
            always=False,
        ),
        PREVIEW,
        REPORT,
    )

    kind: Literal["tomo.refine"] = "tomo.refine"
    inputs: TomoRefineInputs
    output: OutputFolder = Field(Path("results"), validation_alias=AliasChoices("output", "output_dir", "result_dir"))
    options: TomoRefineOptions = Field(default_factory=TomoRefineOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Subtomograms as they are on the host; measured and filled on the device, and a step of the network.

        Of tomograms, blocks with their views, and a step.
        """
        options = self.options
        if options.method not in (None, "isonet"):
            step = training(options.batch_size or 4, options.cube_size or _CUBE, options.base_width or _WIDTH)
            blocks = block_bytes(_ARRAYS, box, 192)
            # Of a Wiener filter the lowest frequencies of all of a tomogram, on a coarse grid.
            coarse = block_bytes(1, box // 4, 400) if options.ctf_mode == "wiener" else 0
            host = REPORT_BYTES + block_bytes(8, box, _LARGEST_BLOCK) + 2 * coarse
            return MemoryEstimate(host, blocks + step + 10 * coarse)
        count = options.select_subtomo_number or _TYPICAL_SUBTOMOGRAMS
        step = training(options.batch_size or 4, box, options.filter_base)
        return MemoryEstimate(REPORT_BYTES + volumes(count, box), volumes(2 * count, box) + step)
