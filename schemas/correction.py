"""Options of the self-supervised correction: the published method, ours, and sizes for each device."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from .training import TrainingOptions

Preset = Literal["tiny", "small", "medium", "published"]
BASE_WIDTH: dict[Preset, int] = {"tiny": 8, "small": 16, "medium": 32, "published": 64}


class CorrectionOptions(TrainingOptions):
    """How a network is trained on a pair of half-maps and used on them."""

    loss: Literal["published", "improved"] = Field("improved", description="the published loss, or ours")
    mode: Literal["shared", "independent"] = Field(
        "shared",
        description="shared: one network sees both halves (ends their independence); independent: one for each",
    )
    preset: Preset = Field("published", description="width of the network: tiny 8, small 16, medium 32, published 64")
    norm: Literal["batch", "group", "none"] = Field("group", description="normalisation; published: batch")
    identity_start: bool = Field(True, description="an untrained network changes nothing")
    see_mask: bool = Field(False, description="show the network the mask beside the map")
    filter_input: bool = Field(True, description="give the network what the weight leaves of each half")

    cube_size: int = Field(64, ge=16, le=256, multiple_of=8, description="side of training crops, voxels")
    crop_size: int = Field(
        80,
        ge=32,
        le=512,
        multiple_of=8,
        description="side of prediction tiles, voxels",
        validation_alias=AliasChoices("crop_size", "predict_crop_size"),
    )
    steps: int | None = Field(None, ge=0, description="training steps; else epochs * n_subvolume / batch")
    epochs: int = Field(5, ge=0, description="passes over the crops")
    n_subvolume: int = Field(1000, ge=1, description="crops per epoch")
    warm_steps: int | None = Field(None, ge=0, description="steps when there is a network from the iteration before")
    fresh_crops: bool = Field(True, description="new crops in every step; false: drawn once, as published")

    alpha: float = Field(1.0, ge=0, description="weight of the rotated term")
    beta: float = Field(0.5, ge=0, description="published loss: weight of the terms across halves")
    anchor: float = Field(
        0.5, ge=0, le=1, description="our loss: share of the rotated term compared with measured data"
    )
    noise: float = Field(1.0, ge=0, description="our loss: noise like a half's own in rotated inputs, times this")
    free_rotations: float = Field(0.5, ge=0, le=1, description="our loss: share of batches turned by any rotation")
    practice: float = Field(
        0.0, ge=0, description="our loss: weight of simulated half-maps in every step, so that nothing is unlearned"
    )
    average_turns: int = Field(1, ge=1, le=24, description="rotations of the cube that a prediction is the mean of")
    margin: int = Field(2, ge=0, le=32, description="our loss: voxels at a crop's faces that do not count")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if 2 * self.margin >= self.cube_size:
            raise ValueError(f"margin {self.margin} leaves nothing of cubes of {self.cube_size}")
        return self

    @property
    def base_width(self) -> int:
        """Channels of the network's first level."""
        return BASE_WIDTH[self.preset]

    def total_steps(self, *, warm: bool) -> int:
        """Number of training steps of one call."""
        if warm and self.warm_steps is not None:
            return self.warm_steps
        if self.steps is not None:
            return self.steps
        return max(1, self.epochs * self.n_subvolume // self.batch) if self.epochs else 0

    @classmethod
    def for_device(cls, device: str, **chosen: Any) -> Self:
        """Defaults that suit a device ("cpu" or "cuda"), with what was chosen put over them.

        On a GPU the sizes are the published ones; on a CPU they are small enough for a few minutes on two cores.
        """
        defaults = _CUDA if device.split(":")[0] == "cuda" else _CPU
        if "epochs" in chosen or "n_subvolume" in chosen:
            # Who counts in epochs does not want our numbers of steps, not in a warm iteration either.
            defaults = {key: value for key, value in defaults.items() if key not in ("steps", "warm_steps")}
        return cls.model_validate({**defaults, **chosen})

    @classmethod
    def defaults_on(cls, device: str) -> dict[str, Any]:
        """What is used on a device where nothing is chosen."""
        return cls.for_device(device).model_dump()

    @classmethod
    def published(cls, device: str, **chosen: Any) -> Self:
        """The method as published, in the sizes that suit the device."""
        return cls.for_device(device, **{**_PUBLISHED, **chosen})


_CPU: dict[str, Any] = {
    "preset": "tiny",
    "cube_size": 24,
    "crop_size": 64,
    "steps": 200,
    "warm_steps": 80,
    "learning_rate": 3e-3,
}
_CUDA: dict[str, Any] = {
    "preset": "published",
    "cube_size": 64,
    "crop_size": 80,
    "warm_steps": 300,
    "precision": "bfloat16",
}
_PUBLISHED: dict[str, Any] = {
    "loss": "published",
    "norm": "batch",
    "identity_start": False,
    "filter_input": False,
    "fresh_crops": False,
    "learning_rate": 3e-4,
    "schedule": "constant",
    "gradient_clip": None,
    "ema": 0.0,
    "acc_batches": 2,
}
