"""`vae.linear`: a linear subspace of what varies between particles, within seconds, and whether it is real."""

from __future__ import annotations

import contextlib
from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job
from ...memory import REPORT_BYTES, MemoryEstimate, volumes
from ...outputs import REPORT, Output
from ...particle_images import CRYOSPARC_LATENTS, ImageInputs, ImageOptions

USUAL_BOX = 128
_READING_BYTES = 600_000_000
_FITTED_IMAGES, _POINT_BYTES = 20_000, 250
"""Of the fit: images at most, and bytes for each Fourier pixel of each, those of the halves included."""
_LEAST_ROW_BYTES = 50
"""Of a particle in a table with poses."""


class LinearOptions(ImageOptions):
    """Options of `vae.linear`."""

    box: int | None = Field(
        None,
        ge=16,
        le=512,
        multiple_of=2,
        validation_alias=AliasChoices("box", "D"),
        description="box of the volumes in voxels, images are cropped to it in Fourier space; the images' own, or 128 "
        "where that is smaller, if empty",
    )
    resolution_A: float | None = Field(
        None,
        gt=0,
        description="how far modes reach, in Angstrom; 11/32 of Nyquist of the box if empty, which the trials had",
    )
    modes: int | None = Field(
        None,
        ge=1,
        le=32,
        validation_alias=AliasChoices("modes", "latent_dimensions", "zdim"),
        description="numbers of a latent; as many modes as are above noise, or in both halves, of 12 at most, if empty",
    )
    iterations: int = Field(6, ge=1, le=100, description="iterations of expectation and maximisation")
    repair_poses: Literal["off", "on_warning", "on"] = Field(
        "off",
        description="correct poses by what particles say beside their heterogeneity; on_warning: where the modes look "
        "like wrong poses. it makes good poses worse",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of where the fit begins, and of permutations")


class VaeLinearJob(Job):
    """Find the linear modes in which particles differ, their latents and volumes, and say whether they are real."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("model.safetensors", "model", "model", "consensus and modes; opened by the other kinds of this family"),
        Output("latents.npz", "arrays", "latents", "latents 'z' and 'log_variance' of every particle"),
        Output("particles.npz", "arrays", "particles", "the particles that the latents are of"),
        Output("consensus.mrc", "map", "consensus", "the volume of latent 0"),
        Output("mode_*.mrc", "map", "mode", "what one deviation of a latent adds to the consensus"),
        Output("modes.csv", "table", "modes", "eigenvalues and controls by mode"),
        Output("associations.csv", "table", "associations", "how much of the latents other quantities explain"),
        Output("agreement.npz", "arrays", "agreement", "correlation of each image with the consensus"),
        Output("poses.npz", "arrays", "poses", "repaired poses, to be given as 'poses'", always=False),
        Output("junk.npz", "arrays", "junk", "indices of images that may show no particle", always=False),
        CRYOSPARC_LATENTS,
        REPORT,
    )

    kind: Literal["vae.linear"] = "vae.linear"
    inputs: ImageInputs
    options: LinearOptions = Field(default_factory=LinearOptions)

    def own_box(self, device: str) -> int:
        """That of the volumes, or the usual one where the images decide."""
        return self.options.box or USUAL_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Volumes and drawing on the host; slices and residuals of the fit, its halves, and volumes on the device."""
        band = 0.5 * 3.15 * (11 * box / 64) ** 2
        residuals = 0.5 * 3.15 * (box / 2) ** 2 * 24
        images = int(self._fitted() * (band * _POINT_BYTES + residuals))
        return MemoryEstimate(REPORT_BYTES + volumes(20, box), _READING_BYTES + images + volumes(40, box))

    def _fitted(self) -> int:
        """At most how many images are fitted on, going by the size of their table."""
        table = self.inputs.particles
        with contextlib.suppress(OSError):
            if table.suffix.lower() in (".star", ".cs"):
                return min(_FITTED_IMAGES, table.stat().st_size // _LEAST_ROW_BYTES)
        return _FITTED_IMAGES
