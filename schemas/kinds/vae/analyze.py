"""`vae.analyze`: what the latents of a finished training say."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ...envelope import Job
from ...latent_series import USUAL_BOX, RunInputs, SeriesOptions, series_memory
from ...memory import MemoryEstimate
from ...outputs import REPORT, Output


class AnalyzeOptions(SeriesOptions):
    """Options of `vae.analyze`."""

    clusters: int = Field(
        20,
        ge=1,
        le=2000,
        validation_alias=AliasChoices("clusters", "ksample"),
        description="clusters by k-means; fewer where there are fewer particles",
    )
    components: int = Field(
        2,
        ge=0,
        le=32,
        validation_alias=AliasChoices("components", "pc"),
        description="principal components that volumes are made along",
    )
    per_component: int = Field(
        10,
        ge=2,
        le=200,
        validation_alias=AliasChoices("per_component", "n_per_pc"),
        description="volumes along each component, from the 5th to the 95th percentile of the particles",
    )
    skip_volumes: bool = Field(
        False, validation_alias=AliasChoices("skip_volumes", "skip_vol"), description="make no volumes"
    )
    first_number: int = Field(
        0,
        ge=0,
        le=1_000_000,
        validation_alias=AliasChoices("first_number", "vol_start_index"),
        description="number of the first volume of each series; with 0 a volume has the number of its cluster",
    )
    umap: bool = Field(
        False, description="a UMAP of the latents too, last of all; takes minutes for many particles (extra 'vae')"
    )
    notebook: bool = Field(False, description="a notebook that loads what was found, for one's own figures")
    seed: int = Field(0, ge=0, lt=2**32, description="of k-means and UMAP")


class VaeAnalyzeJob(Job):
    """Look at the latents of a training: components, clusters, volumes of both, and what may not be concluded."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output(
            "analysis.npz",
            "arrays",
            "analysis",
            "of each particle its cluster, components 'pc', density and, where asked for, 'umap'; vae.select takes it",
        ),
        Output("clusters.csv", "table", "clusters", "particles, centre and latent of each cluster"),
        Output("particles.csv", "table", "particles", "cluster, components and density of each particle"),
        Output("components.csv", "table", "components", "variance along each component of latents and of volumes"),
        Output("correlations.csv", "table", "correlations", "latents against defocus, view and shift", always=False),
        Output("epochs.csv", "table", "epochs", "how alike the latents of kept epochs are", always=False),
        Output("neighbours.csv", "table", "neighbours", "FSC of neighbouring volumes", always=False),
        Output("kmeans_*.mrc", "map", "kmeans", "volume at the centre of a cluster", always=False),
        Output("pc*_*.mrc", "map", "component", "volumes along a principal component", always=False),
        Output("z_*.txt", "table", "latents", "latents of a series of volumes, one a line", always=False),
        Output("*.cxc", "script", "script", "shows a series of volumes in ChimeraX", always=False),
        Output("analysis.ipynb", "script", "notebook", "a notebook that loads what was found", always=False),
        REPORT,
    )

    kind: Literal["vae.analyze"] = "vae.analyze"
    inputs: RunInputs
    options: AnalyzeOptions = Field(default_factory=AnalyzeOptions)

    def own_box(self, device: str) -> int:
        """That of the volumes; the model's own is known once it is open."""
        return max(USUAL_BOX, self.options.box or 0)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """A few volumes on either side: they are looked at one by one."""
        return series_memory(box)


ANALYSIS_OUTPUTS: tuple[Output, ...] = (
    *(
        replace(one, role=f"analysis_{one.role}", always=False)
        for one in VaeAnalyzeJob.outputs
        if one is not REPORT and one.role != "notebook"
    ),
    Output("analysis.html", "report", "analysis_report", "what the latents say, with figures", always=False),
)
"""What an analysis leaves in the folder of the training that it ends."""
