"""Options of every training, whatever is learned."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AliasChoices, Field, model_validator

from .validation import StrictModel


class TrainingOptions(StrictModel):
    """How networks are trained: batches, optimiser, averages, looks at held-out samples, arithmetic."""

    batch: int = Field(
        4, ge=1, le=256, description="samples per step", validation_alias=AliasChoices("batch", "batch_size")
    )
    acc_batches: int = Field(1, ge=1, le=64, description="parts a batch is divided into, to save memory")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="of AdamW, at its highest")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="how the learning rate goes on")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    gradient_clip: float | None = Field(1.0, gt=0, description="largest norm of a gradient")
    ema: float = Field(0.98, ge=0, lt=1, description="decay of the averaged weights used for prediction; 0: the last")
    held_out: int = Field(0, ge=0, le=64, description="samples kept out of training to watch the loss")
    held_out_every: int = Field(50, ge=1, description="steps between two looks at them")
    patience: int | None = Field(None, ge=1, description="stop after so many looks without a better loss")
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network's arithmetic; a CPU always computes in float32"
    )
    compile: bool = Field(False, description="compile the network; only on a GPU")

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if self.batch % self.acc_batches:
            raise ValueError(f"batch {self.batch} is not a multiple of acc_batches {self.acc_batches}")
        if self.patience is not None and self.held_out == 0:
            raise ValueError("patience needs held_out samples")
        return self
