"""`vae.traverse`: volumes along a way through the latent space."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from ...envelope import Job
from ...latent_series import USUAL_BOX, RunInputs, SeriesOptions, series_memory
from ...latents import Members
from ...memory import MemoryEstimate
from ...outputs import REPORT, Output
from ...paths import Holds, InputFile


class TraverseInputs(RunInputs):
    """A finished training, and perhaps where to go through."""

    z_file: Annotated[InputFile, Holds("arrays", "latents")] | None = Field(
        None,
        validation_alias=AliasChoices("z_file", "zfile"),
        description="latents to go through, one a line (.txt, .csv), or an array of them (.npy, .npz)",
    )


class TraverseOptions(SeriesOptions):
    """Options of `vae.traverse`."""

    way: Literal["component", "direct", "graph"] = Field(
        "graph",
        description="component: along a principal component; direct: straight between anchors; graph: from particle "
        "to particle, so that the way keeps to where particles are",
    )
    anchors: Members | None = Field(
        None,
        validation_alias=AliasChoices("anchors", "anchor_inds"),
        description="particles to go through, from 0 on, e.g. 3,17,5; for a graph two particles near the ends "
        "of the first component if empty",
    )
    component: int = Field(
        1, ge=1, le=4096, validation_alias=AliasChoices("component", "dim"), description="which component, from 1 on"
    )
    count: int = Field(
        10,
        ge=2,
        le=10_000,
        validation_alias=AliasChoices("count", "n", "n_per_pc"),
        description="volumes along a component; along a graph, the most that are made",
    )
    percentile_spacing: bool = Field(
        False,
        validation_alias=AliasChoices("percentile_spacing", "use_percentile_spacing"),
        description="along a component, as many particles between any two volumes instead of equal steps",
    )
    between: int = Field(6, ge=0, le=10_000, description="latents between two anchors of a direct way")
    loop: bool = Field(False, description="a direct way back to the first anchor")
    most_neighbours: int = Field(
        10,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("most_neighbours", "max_neighbors"),
        description="a graph joins a particle to at most so many nearest others",
    )
    average_neighbours: float | None = Field(
        None,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("average_neighbours", "avg_neighbors"),
        description="and to so many on average: longer edges are left out; 5, or as many more as it takes to reach "
        "every anchor, if empty",
    )
    skip_volumes: bool = Field(
        False, validation_alias=AliasChoices("skip_volumes", "skip_vol"), description="make no volumes"
    )
    first_number: int = Field(
        0,
        ge=0,
        le=1_000_000,
        validation_alias=AliasChoices("first_number", "vol_start_index"),
        description="number of the first volume",
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.average_neighbours is not None and self.average_neighbours > self.most_neighbours:
            raise ValueError("'average_neighbours' is above 'most_neighbours'")
        return self


class VaeTraverseJob(Job):
    """Make volumes along a way through the latent space: a component, straight lines, or from particle to particle."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("z_path.txt", "table", "latents", "the latents on the way, one a line, to be given as z_file"),
        Output("path.csv", "table", "path", "each latent on the way: particle nearest to it, distance, volume"),
        Output("path.npz", "arrays", "indices", "particles on the way, 'indices', and latents 'z'"),
        Output("neighbours.csv", "table", "neighbours", "FSC of neighbouring volumes", always=False),
        Output("path_*.mrc", "map", "volume", "volumes along the way", always=False),
        Output("path.cxc", "script", "script", "shows the volumes one after the other in ChimeraX", always=False),
        REPORT,
    )

    kind: Literal["vae.traverse"] = "vae.traverse"
    inputs: TraverseInputs
    options: TraverseOptions = Field(default_factory=TraverseOptions)

    @model_validator(mode="after")
    def _anchored(self) -> Self:
        options = self.options
        given = options.anchors is not None, self.inputs.z_file is not None
        if all(given):
            raise ValueError("'anchors' and 'z_file' both say where to go through; give one")
        if options.way == "direct" and not any(given):
            raise ValueError("a direct way needs 'anchors' or a 'z_file'")
        if options.way == "component" and any(given):
            raise ValueError("along a component there are no anchors; leave out 'anchors' and 'z_file'")
        if options.anchors is not None and len(options.anchors) < 2:
            raise ValueError("'anchors' are two particles or more")
        return self

    def own_box(self, device: str) -> int:
        """That of the volumes; the model's own is known once it is open."""
        return max(USUAL_BOX, self.options.box or 0)

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """A few volumes on either side: they are looked at one by one."""
        return series_memory(box)
