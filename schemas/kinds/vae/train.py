"""`vae.train`: a model of what varies between particles, trained on their images."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from ...envelope import Job
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...particle_images import CRYOSPARC_LATENTS, ImageInputs, ImageOptions
from ...paths import Holds, InputFile, RunFolder
from ...published_vae import PublishedVaeOptions
from ...training import TrainingOptions
from .analyze import ANALYSIS_OUTPUTS

USUAL_BOX = 128
_KERNEL_BYTES = 400_000_000
_SMALLEST_BOX = 16
_PUBLISHED_BATCH = 16
_MOST_MODES = 12
MOST_HELD_OUT = 1024
"""Images that are kept out at most: they are prepared and held on the device together."""
_FEWEST_STEPS, _MOST_EPOCHS = 180, 40
"""On a CPU more steps added .002 to .005 to the correlation of differences with the truth, and tripled the time."""

_FAST: dict[str, dict[str, Any]] = {
    "cpu": {"epochs": 1, "batch": 16, "learning_rate": 2e-3},
    "cuda": {"epochs": 5, "batch": 64, "learning_rate": 2e-3},
}
_RETIRED: dict[str, str] = {
    "num_workers": "images are read in large runs and kept on the device; leave it out",
    "max_threads": "give 'threads' under 'run'",
    "shuffler_size": "images that do not fit are read in chunks by themselves; leave it out",
    "lazy": "images that do not fit are read in chunks by themselves; leave it out",
    "multigpu": "give 'devices' under 'run', e.g. 0,1",
    "verbose": "everything is in the log already; leave it out",
    "log_interval": "progress is told all the time; leave it out",
    "shuffle_seed": "give 'seed', which all random numbers follow from",
    "invert_data": "give 'contrast', bright or dark, or leave both out: it is found from the images",
    "uninvert_data": "give 'contrast', bright or dark, or leave both out: it is found from the images",
    "norm": "images are divided by the deviation of their noise, which is measured; leave it out",
    "random_tilts": "those of the lowest dose are taken; leave it out",
    "no_window": "give 'window: false'",
    "no_amp": "give 'amp: false'",
    "no_analysis": "there is an analysis with 'analysis: true' alone; leave it out",
}
"""Options of cryoDRGN that have no place here, and what there is instead."""


class TrainInputs(ImageInputs):
    """Particles to learn from, and an earlier training to go on with."""

    tilt: Annotated[InputFile, Holds("images", "tilted")] | None = Field(
        None,
        description="of tilt pairs: the tilted images, a stack or a table of them in the order of the particles; for "
        "'encoder: tilt'",
    )

    load: Annotated[RunFolder, Holds("model")] | None = Field(
        None,
        description="folder of an earlier training of the same particles, ours or cryoDRGN's, whose networks are "
        "trained on; 'latest', cryoDRGN's word, is what happens by itself: a training that was cut short goes on where "
        "it was when it is asked for again",
    )

    @field_validator("load", mode="before")
    @classmethod
    def _latest_is_by_itself(cls, given: object) -> object:
        return None if given == "latest" else given


class LatentTraining(TrainingOptions):
    """How a network on images is trained: batches and held-out samples are of images, so there may be many."""

    batch: int = Field(16, ge=1, le=4096, description="images per step")
    held_out: int = Field(0, ge=0, le=65536, description="images kept out of training to watch the loss")


class TrainOptions(ImageOptions, PublishedVaeOptions):
    """Options of `vae.train`."""

    method: Literal["fast", "published"] = Field(
        "fast",
        description="fast: a linear subspace first, then a network on what is left, on low frequencies; published: "
        "cryoDRGN's method, an encoder and a coordinate network trained from nothing",
    )
    decoder: Literal["mlp"] = Field("mlp", description="what makes volumes of latents: a network of coordinates")
    latent_dimensions: int = Field(
        4,
        ge=0,
        le=64,
        validation_alias=AliasChoices("latent_dimensions", "zdim"),
        description="numbers of a latent; 0: one volume without a latent, which is always trained as published",
    )
    box: int | None = Field(
        None,
        ge=_SMALLEST_BOX,
        le=512,
        multiple_of=2,
        description="box of the model in voxels; images are cropped to it in Fourier space; that of the images, but "
        f"no more than {USUAL_BOX}, if empty",
    )
    resolution_A: float | None = Field(
        None,
        gt=0,
        description="fast: finest resolution that is learned, in Angstrom; if empty, 16 periods across the box (on a "
        "GPU 32), and no more than half of what the box holds",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("epochs", "num_epochs", "n"),
        description="passes over the particles; fast: more for fewer than some thousand",
    )
    batch: int | None = Field(
        None,
        ge=1,
        le=4096,
        validation_alias=AliasChoices("batch", "batch_size", "b"),
        description="images per step",
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, validation_alias=AliasChoices("learning_rate", "lr"), description="at its highest"
    )
    weight_decay: float = Field(
        0.0, ge=0, validation_alias=AliasChoices("weight_decay", "wd"), description="of the optimiser"
    )
    beta: Annotated[float, Field(ge=0)] | Literal["a", "b", "c", "d"] | None = Field(
        None,
        description="weight of the information in the latents; a letter is one of cryoDRGN's schedules; 0.25 if empty, "
        "published: 1 over latent_dimensions",
    )
    beta_control: float | None = Field(
        None, gt=0, description="published: strength with which the information is held at 'beta'; not done if empty"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random")
    seeds: int = Field(
        1,
        ge=1,
        le=8,
        validation_alias=AliasChoices("seeds", "networks"),
        description="networks that are trained from different seeds; the first is the result, the others show how far "
        "its latents can be relied on",
    )
    held_out: int | None = Field(
        None,
        ge=0,
        le=65536,
        description="particles that nothing is learned from, to watch the loss, at most half of them and "
        f"{MOST_HELD_OUT} images; if empty, 1 in 20, published: none",
    )
    controls: bool = Field(
        True,
        description="test on these particles whether what varies is real, by images permuted over poses, by half-sets, "
        "and by what wrong poses look like; takes twice as long as the linear part, which is fitted for this after "
        "'method: published' as well, and tells whether its latents have found what varies most",
    )
    amp: bool = Field(True, description="multiply matrices in bfloat16")
    checkpoint: int = Field(1, ge=1, description="keep the latents of every so many epochs")
    analysis: bool = Field(
        False,
        description="when the training ends, do what vae.analyze does with its usual options, in the same folder: "
        "clusters, volumes, analysis.html",
    )
    checkpoint_every_s: float = Field(60.0, gt=0, description="seconds between two checkpoints of the work")
    legacy: bool = Field(False, description="write the run in cryoDRGN's layout as well, for its notebooks")

    @classmethod
    def defaults_on(cls, device: str) -> dict[str, Any]:
        """How the fast method trains on a device where nothing is chosen."""
        return _FAST[device.split(":")[0]]

    @property
    def is_published(self) -> bool:
        """Whether the published method is used."""
        return self.method == "published" or self.latent_dimensions == 0

    def fast_training(self, device: str, count: int) -> LatentTraining:
        """How the fast method trains on a device, on so many particles."""
        chosen = {name: getattr(self, name) for name in ("batch", "learning_rate") if getattr(self, name) is not None}
        held_out = count // 20 if self.held_out is None else self.held_out
        used = {**self.defaults_on(device), **chosen}
        del used["epochs"]
        return LatentTraining(
            **{**used, "batch": min(used["batch"], count)},
            weight_decay=self.weight_decay,
            ema=0.0,
            seed=self.seed,
            held_out=min(held_out, MOST_HELD_OUT, count // 2),
            precision="bfloat16" if self.amp else "float32",
        )

    def fast_epochs(self, device: str, steps: int) -> int:
        """Passes of the fast method, of so many steps each: few particles are shown more often."""
        if self.epochs is not None:
            return self.epochs
        return max(int(self.defaults_on(device)["epochs"]), min(_MOST_EPOCHS, math.ceil(_FEWEST_STEPS / steps)))

    def box_of(self, stored: int) -> int:
        """Box of the model for images of a stored box."""
        return min(stored - stored % 2, USUAL_BOX) if self.box is None else self.box

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, given: Any) -> Any:
        for name, instead in _RETIRED.items() if isinstance(given, dict) else ():
            if name in given:
                raise ValueError(f"'{name}' is an option of cryoDRGN that has no place here: {instead}")
        return given

    @model_validator(mode="after")
    def _of_one_method(self) -> Self:
        if not self.is_published and isinstance(self.beta, str):
            raise ValueError("a schedule of 'beta' is of the published method; give a number, or 'method: published'")
        if not self.is_published and self.beta_control is not None:
            raise ValueError("'beta_control' is of the published method; leave it out, or give 'method: published'")
        if self.is_published and self.latent_dimensions and self.encoder == "table" and self.held_out:
            raise ValueError(
                "'encoder: table' learns latents of the particles that it is shown, so none can be kept out; leave "
                "'held_out' out"
            )
        if self.seeds > 1 and not self.latent_dimensions:
            raise ValueError("'seeds' compares latents, and there are none of 0 numbers; leave it out")
        return self


class VaeTrainJob(Job):
    """Learn what varies between particles: a latent for each of them, and a network that makes volumes of latents."""

    shares_devices: ClassVar[bool] = True
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("model.safetensors", "model", "model", "the trained model, for vae.volumes and vae.encode"),
        Output("latents.npz", "arrays", "latents", "z and log_variance of each particle"),
        Output("particles.npz", "arrays", "particles", "the particles that were used"),
        Output("latents_epoch_*.npz", "arrays", "epoch", "latents after an epoch, counted from 1", always=False),
        Output("consensus.mrc", "map", "consensus", "the volume of all particles; published: that of the mean latent"),
        Output("volume_*.mrc", "map", "volume", "a volume along the first component of the latents", always=False),
        Output("training.csv", "table", "training", "losses by epoch"),
        Output("junk.npz", "arrays", "junk", "indices of images that may show no particle", always=False),
        Output("z*.pkl", "arrays", "legacy_latents", "latents as cryoDRGN has them", always=False),
        Output("weights*.pkl", "arrays", "legacy_weights", "the network as cryoDRGN has it", always=False),
        Output("pose.pkl", "arrays", "legacy_poses", "poses as cryoDRGN has them", always=False),
        Output("ctf.pkl", "arrays", "legacy_ctf", "CTF as cryoDRGN has it", always=False),
        Output("ind.pkl", "arrays", "legacy_selection", "selected particles as cryoDRGN has them", always=False),
        Output("config.yaml", "table", "legacy_config", "settings as cryoDRGN has them", always=False),
        CRYOSPARC_LATENTS,
        *ANALYSIS_OUTPUTS,
        REPORT,
    )

    kind: Literal["vae.train"] = "vae.train"
    inputs: TrainInputs
    options: TrainOptions = Field(default_factory=TrainOptions)

    @model_validator(mode="after")
    def _pairs_want_their_encoder(self) -> Self:
        if self.inputs.tilt is None:
            return self
        if not (self.options.method == "published" and self.options.encoder == "tilt"):
            raise ValueError("tilt pairs ('tilt') are learned with 'method: published' and 'encoder: tilt'; give both")
        if not self.options.latent_dimensions or self.options.learn_poses:
            raise ValueError("tilt pairs ('tilt') need a latent, and keep their poses; leave 'learn_poses' out")
        return self

    def own_box(self, device: str) -> int:
        """That of the model."""
        return self.options.box or USUAL_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Sums and spectra of every mode on padded grids; images take half of what is free, or are read in chunks."""
        modes = max(self.options.latent_dimensions, _MOST_MODES)
        grids = 24 + 3 * modes + modes * (modes + 1) / 2
        step = (
            self.options.network_bytes(box, self.options.batch or _PUBLISHED_BATCH) if self.options.is_published else 0
        )
        return MemoryEstimate(REPORT_BYTES + volumes(12, box), _KERNEL_BYTES + volumes(grids, box) + step)
