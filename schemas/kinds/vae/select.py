"""`vae.select`: particles chosen by what was found of them, as tables that go back into RELION and CryoSPARC."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, Field

from ...conditions import parse_condition
from ...envelope import Inputs, Job, Options
from ...memory import MemoryEstimate
from ...outputs import REPORT, Output
from ...particle_images import TrainedRun
from ...particles import NO_MAP_BOX, conversion_memory
from ...paths import Holds, InputFile, InputFiles

MOST_NUMBERS = 1000
"""In one list of numbers."""
_COLUMN = re.compile(r"[A-Za-z_]\w*")


def numbers_of(text: str) -> tuple[float, ...]:
    """Numbers of a list that was written with commas or blanks; ValueError where one is none."""
    words = re.split(r"[,\s]+", text.strip())
    if len(words) > MOST_NUMBERS:
        raise ValueError(f"more than {MOST_NUMBERS} numbers")
    return tuple(float(word) for word in words)


def _condition(text: str) -> str:
    parse_condition(text)
    return text


def _numbers(text: str) -> str:
    try:
        numbers_of(text)
    except ValueError as error:
        raise ValueError(f"'{text[:60]}' should be numbers with commas between them ({error})") from None
    return text


def _labels(text: str) -> str:
    if not all(re.fullmatch(r"-?\d{1,9}", word) for word in re.split(r"[,\s]+", text.strip())):
        raise ValueError(f"'{text[:60]}' should be whole numbers with commas between them, e.g. 0,3,7")
    return text


def _axes(text: str) -> str:
    names = text.replace(",", " ").split()
    if len(names) != 2 or not all(_COLUMN.fullmatch(name) for name in names):
        raise ValueError(f"'{text[:60]}' should be two columns with a comma between them, e.g. pc1,pc2")
    return text


class SelectInputs(Inputs):
    """Particles, and what is known of each."""

    run: TrainedRun | None = Field(
        None,
        validation_alias=AliasChoices("run", "workdir"),
        description="folder of a finished vae.train or vae.linear, or of a cryoDRGN run; its particles are chosen from",
    )
    particles: Annotated[InputFile, Holds("particles", parts=("images", "?ctf", "?views", "?location"))] | None = Field(
        None,
        validation_alias=AliasChoices("particles", "star", "cs"),
        description="table that the particles came from (.star, .cs), where there is no run or it lies elsewhere now",
    )
    passthrough: Annotated[InputFiles, Holds("particles", "passthrough")] | None = Field(
        None, description="passthrough files of the same CryoSPARC job (.cs); the same particles are chosen of them"
    )
    values: Annotated[InputFiles, Holds("arrays", "values")] | None = Field(
        None,
        validation_alias=AliasChoices("values", "analysis", "labels"),
        description="numbers of each particle, to choose by: analysis.npz of vae.analyze, assignments of "
        "vae.landscape, latents (.npz), a table (.csv), or labels of cryoDRGN (.pkl)",
    )
    indices: Annotated[InputFile, Holds("arrays", "selection")] | None = Field(
        None,
        validation_alias=AliasChoices("indices", "ind"),
        description="particles by number, from 0 on in the order of their table (.npz, .npy, .txt, cryoDRGN's .pkl)",
    )
    lasso: Annotated[InputFile, Holds("table", "outline")] | None = Field(
        None, description="corners of an outline in the plane of two columns, two numbers a row (.csv, .txt, .json)"
    )


class SelectOptions(Options):
    """Which particles; where several rules are given, those that meet all."""

    clusters: Annotated[str, AfterValidator(_labels)] | None = Field(
        None,
        validation_alias=AliasChoices("clusters", "cluster_ids"),
        description="clusters or states to take, by their number, e.g. 0,3,7",
        examples=["0,3"],
    )
    cluster_column: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = Field(
        "cluster", description="the column of the values that says which cluster a particle is of"
    )
    where: Annotated[str, AfterValidator(_condition)] | None = Field(
        None, description="a condition, e.g. 'pc1 > 0.5 and defocus_u_A < 20000'", examples=["z1 > 0"]
    )
    lasso_axes: Annotated[str, AfterValidator(_axes)] = Field(
        "pc1,pc2", description="the two columns that the outline is drawn in"
    )
    nearest: int | None = Field(None, ge=1, description="take so many particles whose latents are nearest to a place")
    nearest_to: Annotated[str, AfterValidator(_numbers)] | None = Field(
        None, description="that place, as numbers with commas between them, one for each latent dimension"
    )
    random: int | None = Field(
        None,
        ge=1,
        validation_alias=AliasChoices("random", "n"),
        description="take so many at random of those that the other rules leave",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the random choice")
    invert: bool = Field(False, description="take those that do not meet the rules")
    per_cluster: bool = Field(False, description="also write a table for each cluster of those that were selected")
    with_latents: bool = Field(
        False,
        description="add each particle's latents as columns: _cryobridgeZ1 ... of a STAR file, components_mode_0 ... "
        "of a .cs",
    )
    legacy: bool = Field(False, description="also write ind.pkl and ind_inverse.pkl, as cryoDRGN has them")


class VaeSelectJob(Job):
    """Select particles by what was found of them, and write them for RELION or CryoSPARC with every column kept."""

    outputs: ClassVar[tuple[Output, ...]] = (
        Output("selected.star", "particles", "selected_star", "selected particles, for RELION", always=False),
        Output("rest.star", "particles", "rest_star", "the others, for RELION", always=False),
        Output("selected.cs", "particles", "particles", "selected particles, for CryoSPARC", always=False),
        Output("rest.cs", "particles", "rest", "the others, for CryoSPARC", always=False),
        Output("selected_passthrough_*.cs", "particles", "selected_passthrough", "their other slots", always=False),
        Output("rest_passthrough_*.cs", "particles", "rest_passthrough", "those of the others", always=False),
        Output("*.csg", "particles", "group", "for CryoSPARC's job Import Result Group", always=False),
        Output("cluster_*.star", "particles", "cluster_star", "selected particles of one cluster", always=False),
        Output("cluster_*.cs", "particles", "cluster", "selected particles of one cluster", always=False),
        Output("selection.npz", "arrays", "selection", "numbers of the selected particles and of the others"),
        Output("ind.pkl", "arrays", "legacy", "numbers of the selected particles, for cryoDRGN", always=False),
        Output("ind_inverse.pkl", "arrays", "legacy_rest", "numbers of the others, for cryoDRGN", always=False),
        Output("counts.csv", "table", "counts", "particles by cluster, optics group, half-set and micrograph"),
        REPORT,
    )

    kind: Literal["vae.select"] = "vae.select"
    inputs: SelectInputs
    options: SelectOptions = Field(default_factory=SelectOptions)

    def own_box(self, device: str) -> int:
        """There are no maps."""
        return NO_MAP_BOX

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """The tables and their texts."""
        given = self.inputs
        one = [path for path in (given.particles, given.indices) if path is not None]
        return conversion_memory((*one, *(given.passthrough or ()), *(given.values or ())), box)
