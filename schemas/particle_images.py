"""Fields that kinds of jobs on images of particles have in common.

The names that users of cryoDRGN know are accepted beside ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from .envelope import Inputs, Options
from .outputs import Output
from .paths import Holds, InputFile, InputFiles, RootFolder, RunFolder

ImagesFile = Annotated[InputFile, Holds("particles", parts=("images", "?ctf", "?views"))]
"""Images of particles: RELION .star, CryoSPARC .cs, a list of stacks (.txt), or a stack (.mrcs, .mrc)."""

ContrastChoice = Literal["auto", "bright", "dark"]


class ImageInputs(Inputs):
    """Images of particles, and tables that complete or replace what their own table says."""

    particles: ImagesFile = Field(
        validation_alias=AliasChoices("particles", "mrcs"),
        description="particles: RELION .star, CryoSPARC .cs, .txt with a stack a line, or a stack (.mrcs)",
        examples=["particles.star"],
    )
    passthrough: Annotated[InputFiles, Holds("particles", "passthrough")] | None = Field(
        None, description="passthrough files of the same CryoSPARC job (.cs); joined on 'uid'"
    )
    poses: Annotated[InputFile, Holds("arrays", "poses")] | None = Field(
        None, description="poses (.npz of particles.parse, or cryoDRGN's .pkl) in place of the table's own"
    )
    ctf: Annotated[InputFile, Holds("arrays", "ctf")] | None = Field(
        None, description="CTF parameters (.npz of particles.parse, or cryoDRGN's .pkl) in place of the table's own"
    )
    selection: Annotated[InputFile, Holds("arrays", "selection")] | None = Field(
        None,
        validation_alias=AliasChoices("selection", "ind"),
        description="which particles to use: indices from 0 on (.npz, .npy, .txt, or cryoDRGN's .pkl)",
    )
    datadir: Annotated[RootFolder, Holds("project")] | None = Field(
        None,
        description="folder that the stacks' paths start at, or that the stacks lie in, where they are not found as "
        "written or beside the table",
    )


class ImageOptions(Options):
    """How images are read and prepared."""

    contrast: ContrastChoice = Field(
        "auto",
        description="whether particles are bright on dark (RELION's), or dark; auto: found by a quick backprojection",
    )
    pixel_size_A: float | None = Field(
        None,
        gt=0,
        le=100,
        validation_alias=AliasChoices("pixel_size_A", "Apix", "apix"),
        description="pixel size of the images as they are stored, in Angstrom; as their table says if empty",
    )
    window: bool = Field(True, description="fade images out towards the corners")
    window_radius: float = Field(
        0.85,
        gt=0,
        le=1,
        validation_alias=AliasChoices("window_radius", "window_r"),
        description="where the fading begins, in halves of the box",
    )


CRYOSPARC_LATENTS = Output(
    "latents.cs",
    "particles",
    "particles_with_latents",
    "latents by CryoSPARC's ids, as the components of 3D Variability",
    always=False,
)
"""Of every kind that finds latents: what makes particles with latents of its card."""


def run_field() -> Any:
    """Declare the folder of a finished training."""
    return Field(
        validation_alias=AliasChoices("run", "workdir"),
        description="folder of a finished vae.train or vae.linear, or of a cryoDRGN run",
        examples=["trained"],
    )


TrainedRun = Annotated[RunFolder, Holds("model")]


def epoch_field() -> Any:
    """Declare which epoch of a run is meant."""
    return Field(
        None,
        ge=0,
        description="which epoch, counted from 1; the last if empty. of a cryoDRGN run, as its files have it, which "
        "count from 0 before version 3.5",
    )
