"""`map.correct`: two half-maps corrected for directions that are measured badly."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from ...correction import CorrectionOptions
from ...envelope import Job, Options
from ...half_maps import Fsc3dFile, HalfMapInputs, PointGroup, limit_field, symmetry_field, voxel_size_field
from ...memory import REPORT_BYTES, MemoryEstimate, training, volumes
from ...outputs import REPORT, Output
from ...paths import Holds, InputFile
from ...pretrained import Effort, another_shape, options_of


class CorrectInputs(HalfMapInputs):
    """Half-maps to correct, and what may be known of them already."""

    fsc3d: Fsc3dFile | None = Field(
        None,
        validation_alias=AliasChoices("fsc3d", "aniso_file"),
        description="3DFSC, the origin at the centre of the box; computed if not given",
    )
    reference: Annotated[InputFile, Holds("map", "reference")] | None = Field(
        None, description="map whose low resolutions replace those of both half-maps before training"
    )
    network: Annotated[InputFile, Holds("model")] | None = Field(
        None,
        validation_alias=AliasChoices("network", "pretrained_model"),
        description="network to start from: network.safetensors of an earlier job, or a .pt of spIsoNet",
    )


NETWORK_GROUP = "Network and training"
Weight = Literal["noise", "c_ref", "fsc3d", "none"]

# A single correction has time for more steps than an iteration of a refinement; docs/BENCHMARKS.md has the rest.
_STANDALONE: dict[str, dict[str, Any]] = {
    "cpu": {"steps": 600, "free_rotations": 0.0},
    "cuda": {"steps": 2500, "free_rotations": 0.0},
}


class CorrectOptions(CorrectionOptions, Options):
    """Options of `map.correct`: what is trained and how, and how the final maps are put together."""

    method: Literal["improved", "published"] = Field(
        "improved", description="published: spIsoNet's method in every choice that is not given otherwise"
    )
    independent: bool = Field(False, description="one network for each half-map, the same as mode independent")
    limit_resolution_A: float | None = limit_field("correct")
    start: Literal["pretrained", "anew"] | None = Field(
        None,
        description="pretrained: from the small network that was trained on simulated half-maps; anew: from nothing; "
        "pretrained if empty, unless the method is the published one, or a network or another shape is given",
    )
    effort: Effort | None = Field(
        None,
        description="with the pre-trained network: quick uses it as it is, standard trains it a little on these "
        "half-maps, careful trains it longer; standard if empty, quick in independent mode, where training on one "
        "half-map alone gains next to nothing",
    )
    voxel_size_A: float | None = voxel_size_field()
    weight: Weight | None = Field(
        None,
        description="how much a Fourier voxel counts in training: noise, by the sampling that the difference of the "
        "half-maps tells; c_ref, the mean map's correlation with the truth that follows from the 3DFSC; fsc3d, the "
        "3DFSC itself; none, all alike, so that the network only denoises; noise if empty, fsc3d with the published "
        "method",
    )
    whiten: bool = Field(
        True,
        description="level the spectrum from 10 A to the limit before training; not with the published method, and "
        "with weight noise all of it is levelled",
    )
    half_angle_deg: float = Field(
        10.0,
        gt=0,
        le=90,
        validation_alias=AliasChoices("half_angle_deg", "cone_sampling_angle"),
        description="half the opening of the 3DFSC's cone, in degrees",
    )
    reference_resolution_A: float = Field(
        10.0,
        gt=0,
        validation_alias=AliasChoices("reference_resolution_A", "ref_resolution"),
        description="the reference counts up to this resolution, in Angstrom",
    )
    combine: Literal["fill", "published"] | None = Field(
        None,
        description="fill: well measured voxels stay as measured, the network fills the others; published: the "
        "network's map as it is; fill if empty, published with the published method",
    )
    prior_variance: float = Field(
        0.25,
        ge=0,
        le=1,
        description="fill: how far the network's map may be off, as a share of the signal's power; 0: only that map",
    )
    symmetry: PointGroup = symmetry_field()
    ensemble: int = Field(
        1, ge=1, le=20, description="networks from different seeds; their mean is the result, their spread a map"
    )
    postprocess: bool = Field(
        True, description="sharpen the map that is written for looking at; else it is only low-passed at the limit"
    )
    display_map: bool = Field(
        False,
        description="write corrected_for_display.mrc as well, with amplitudes restored in badly measured directions: "
        "for looking at, for no FSC and no refinement",
    )
    checkpoint_every_s: float = Field(60.0, gt=0, description="seconds between two checkpoints")

    def network_options(self, device: str) -> CorrectionOptions:
        """How to train on a device ("cpu" or "cuda"): what was chosen, over the defaults of method and device."""
        names = set(CorrectionOptions.model_fields) & self.model_fields_set
        chosen = {name: getattr(self, name) for name in names}
        defaults = dict(_STANDALONE[device.split(":")[0]])
        if self.method == "improved" and self.weighting == "noise":
            defaults |= {"see_mask": True, "norm": "none"}
        if self.begins_pretrained:
            defaults |= options_of(self.effort or ("quick" if self.is_independent else "standard"), chosen)
        if {"epochs", "n_subvolume"} & names:
            defaults = {key: value for key, value in defaults.items() if key not in ("steps", "warm_steps")}
        options: dict[str, Any] = {**defaults, **chosen}
        if self.independent:
            options["mode"] = "independent"
        make = CorrectionOptions.published if self.method == "published" else CorrectionOptions.for_device
        return make(device, **options)

    @classmethod
    def group_of(cls, field: str) -> str:
        """The fields of the training have a heading of their own."""
        return NETWORK_GROUP if field in CorrectionOptions.model_fields else ""

    @classmethod
    def defaults_on(cls, device: str) -> dict[str, Any]:
        """How the network is trained on a device where nothing is chosen."""
        return cls().network_options(device).model_dump()

    @property
    def begins_pretrained(self) -> bool:
        """Whether the training begins with the network that was trained on simulated half-maps, if none is given."""
        if self.start is not None:
            return self.start == "pretrained"
        chosen = {name: getattr(self, name) for name in self.model_fields_set}
        return self.method == "improved" and self.weighting == "noise" and not another_shape(chosen)

    @property
    def is_independent(self) -> bool:
        """Whether each half-map has a network of its own."""
        return self.independent or self.mode == "independent"

    @property
    def whitens(self) -> bool:
        """Whether the halves are whitened before training, where they are not levelled altogether."""
        if self.weighting == "noise":
            return False
        return self.whiten and (self.method == "improved" or "whiten" in self.model_fields_set)

    @property
    def weighting(self) -> Weight:
        """How much a Fourier voxel counts in training."""
        return self.weight or ("fsc3d" if self.method == "published" else "noise")

    @model_validator(mode="after")
    def _startable(self) -> Self:
        if self.start == "pretrained" and self.weighting != "noise":
            raise ValueError(
                "the pre-trained network knows half-maps that are weighted by their noise; leave 'start' out, or "
                "choose 'weight: noise' and 'method: improved'"
            )
        return self

    @property
    def combination(self) -> Literal["fill", "published"]:
        """How the final maps are put together."""
        if self.combine is not None:
            return self.combine
        return "published" if self.method == "published" else "fill"


def correction_bytes(network: CorrectionOptions, box: int) -> int:
    """Memory of a correction on its device: maps and spectra in some thirty forms, and the network at its work."""
    parts = network.batch / network.acc_batches
    step = training(parts, network.cube_size, network.base_width)
    # A prediction keeps nothing for a gradient: a few arrays of the first level at a time.
    tile = volumes(6 * network.base_width, network.crop_size)
    return volumes(30, box) + max(step, tile)


class MapCorrectJob(Job):
    """Correct two half-maps for directions that are measured badly."""

    shares_devices: ClassVar[bool] = True
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("corrected_half1.mrc", "half_map", "half1", "half-map 1, corrected"),
        Output("corrected_half2.mrc", "half_map", "half2", "half-map 2, corrected"),
        Output("corrected.mrc", "map", "map", "mean of the corrected half-maps"),
        Output("postprocessed.mrc", "map", "sharpened", "sharpened mean of the corrected half-maps", always=False),
        Output(
            "input_postprocessed.mrc", "map", "input_sharpened", "the mean before, sharpened likewise", always=False
        ),
        Output("corrected_lowpassed.mrc", "map", "lowpassed", "corrected mean, low-passed at the limit", always=False),
        Output("input_lowpassed.mrc", "map", "input_lowpassed", "the mean before, low-passed likewise", always=False),
        Output(
            "corrected_for_display.mrc",
            "map",
            "display",
            "amplitudes restored in badly measured directions: for looking at only",
            always=False,
        ),
        Output("spread.mrc", "map", "spread", "how far networks from different seeds differ, by voxel", always=False),
        Output("mask.mrc", "mask", "mask", "the mask that was made, where none was given", always=False),
        Output("FSC3D.mrc", "fourier_volume", "fsc3d", "the 3DFSC, where none was given", always=False),
        Output("network.safetensors", "model", "network", "the network, to start a later job from"),
        Output("fsc.csv", "table", "fsc", "FSC of the half-maps before and after, by shell"),
        Output("loss.csv", "table", "loss", "loss of the training by step"),
        Output("change.csv", "table", "change", "share of the power changed, by shell and direction"),
        Output("directions.csv", "table", "directions", "resolution of the half-maps by direction"),
        Output("cones.csv", "table", "cones", "FSC in cones about the worst and the best direction"),
        Output("amplitudes.csv", "table", "amplitudes", "amplitudes by shell, measured badly and well"),
        Output("corrected.cxc", "script", "script", "shows the map before and after in ChimeraX"),
        REPORT,
    )

    kind: Literal["map.correct"] = "map.correct"
    inputs: CorrectInputs
    options: CorrectOptions = Field(default_factory=CorrectOptions)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The maps and what each network made on the host; maps, spectra and a network's work on the device."""
        network = self.options.network_options(device)
        return MemoryEstimate(
            REPORT_BYTES + volumes(8 + 2 * self.options.ensemble, box), correction_bytes(network, box)
        )
