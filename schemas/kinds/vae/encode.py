"""`vae.encode`: latents of images that a model did not learn from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...particle_images import CRYOSPARC_LATENTS, ImageInputs, ImageOptions, TrainedRun, epoch_field, run_field

USUAL_BOX = 128
"""Box by which memory is reckoned before the model is opened."""


class EncodeInputs(ImageInputs):
    """Images, and a trained model."""

    run: TrainedRun = run_field()


class EncodeOptions(ImageOptions):
    """Options of `vae.encode`."""

    epoch: int | None = epoch_field()
    batch: int = Field(
        256,
        ge=1,
        le=65_536,
        validation_alias=AliasChoices("batch", "batch_size"),
        description="images that are encoded together",
    )


class VaeEncodeJob(Job):
    """Find latents of new images by a trained model, and how well it knows them; the result can be used as a run."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("model.safetensors", "model", "model", "the model, as it was"),
        Output("latents.npz", "arrays", "latents", "latents of the images, and the logarithms of their variances"),
        Output("particles.npz", "arrays", "particles", "the images: stacks, poses, CTF"),
        Output("images.csv", "table", "images", "for each image how well the model explains it, and its latent"),
        Output("consensus.mrc", "map", "consensus", "the consensus of the run", always=False),
        CRYOSPARC_LATENTS,
        REPORT,
    )

    kind: Literal["vae.encode"] = "vae.encode"
    inputs: EncodeInputs
    options: EncodeOptions = Field(default_factory=EncodeOptions)

    def own_box(self, device: str) -> int:
        """There is no map to tell it by; the model's own is known once it is open."""
        return USUAL_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """On the host a chunk of images; on the device the model, and a batch of images with what they should be."""
        batch = self.options.batch * box * box * 24
        return MemoryEstimate(REPORT_BYTES + (96 << 20) + volumes(4, box), volumes(80, box) + batch)
