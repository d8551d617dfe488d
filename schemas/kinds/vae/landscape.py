"""`vae.landscape`: the states that a trained model's volumes fall into."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from ...envelope import Job
from ...half_maps import MaskFile
from ...latent_series import USUAL_BOX, RunInputs, SeriesOptions, series_memory
from ...memory import MemoryEstimate, volumes
from ...outputs import REPORT, Output

VOLUMES_ON_CPU, VOLUMES_ON_GPU = 200, 1000
MOST_KEPT_BYTES = 6_000_000_000
"""Of volumes in float16; more are decoded again when they are needed again."""


class LandscapeInputs(RunInputs):
    """A finished training, and perhaps a mask."""

    mask: MaskFile | None = Field(
        None, description="where volumes are compared; if empty, where any of them reaches half its peak, and 5 A more"
    )


class LandscapeOptions(SeriesOptions):
    """Options of `vae.landscape`."""

    volumes: int | None = Field(
        None,
        ge=2,
        le=10_000,
        validation_alias=AliasChoices("volumes", "sketch_size", "N"),
        description=f"volumes that are compared, at the centres of as many clusters of latents; {VOLUMES_ON_CPU} on a "
        f"CPU and {VOLUMES_ON_GPU} on a GPU if empty, fewer where there are fewer particles",
    )
    states: int = Field(
        10, ge=1, le=500, validation_alias=AliasChoices("states", "M"), description="states to cut the tree at"
    )
    linkage: Literal["average", "ward", "complete", "single"] = Field(
        "average", description="how volumes are joined into states"
    )
    components: int = Field(
        20,
        ge=1,
        le=200,
        validation_alias=AliasChoices("components", "pc_dim"),
        description="principal components of volumes that are kept",
    )
    dilate_A: float = Field(
        5.0,
        ge=0,
        le=100,
        validation_alias=AliasChoices("dilate_A", "dilate"),
        description="how much wider than the density the mask is made, in Angstrom",
    )
    keep_volumes: bool = Field(False, description="write every volume that was compared, too")
    seed: int = Field(0, ge=0, lt=2**32, description="of k-means and of what is kept out of the fit")

    def volumes_on(self, device: str) -> int:
        """How many volumes are compared on "cpu" or "cuda"."""
        if self.volumes is not None:
            return self.volumes
        return VOLUMES_ON_GPU if device.startswith("cuda") else VOLUMES_ON_CPU

    @model_validator(mode="after")
    def _fewer_states(self) -> Self:
        if self.volumes is not None and self.states > self.volumes:
            raise ValueError(f"{self.states} states of {self.volumes} volumes; ask for fewer states")
        return self


class VaeLandscapeJob(Job):
    """Find states: compare volumes from all over the latent space, join those alike, and count the particles of each.

    Maps are the mean and spread of each state's volumes, weighted by particles; every particle gets a place among the
    volumes.
    """

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("states.npz", "arrays", "states", "of each particle its state, cluster and 'volume_pc'; for vae.select"),
        Output("state_*_indices.npz", "arrays", "indices", "particles of a state, for vae.select"),
        Output("states.csv", "table", "counts", "particles, volumes and spread of each state"),
        Output("volumes.csv", "table", "volumes", "of each volume its centre, particles, state and components"),
        Output("components.csv", "table", "components", "variance between volumes along each component"),
        Output("state_*_mean.mrc", "map", "mean", "mean of a state's volumes"),
        Output("state_*_std.mrc", "map", "spread", "standard deviation of a state's volumes"),
        Output("component_*.mrc", "map", "component", "a principal component of the volumes"),
        Output("mask.mrc", "mask", "mask", "where volumes were compared"),
        Output("kmeans_*.mrc", "map", "volume", "a volume that was compared", always=False),
        Output("states.cxc", "script", "script", "shows the states in ChimeraX"),
        REPORT,
    )

    kind: Literal["vae.landscape"] = "vae.landscape"
    inputs: LandscapeInputs
    options: LandscapeOptions = Field(default_factory=LandscapeOptions)

    def own_box(self, device: str) -> int:
        """That of the volumes; the model's own is known once it is open."""
        return max(USUAL_BOX, self.options.box or 0)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """Every compared volume in two bytes a voxel, as far as they are kept, and two maps of each state."""
        whole = min(self.options.volumes_on(device) / 2, MOST_KEPT_BYTES / volumes(1, box))
        # Inside a mask, which is a quarter of the box on the whole, they are kept besides.
        masked = self.options.volumes_on(device) / 8
        return series_memory(box, whole + masked + 4 * self.options.states + 12)
