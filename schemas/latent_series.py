"""Options that kinds have in common which make series of volumes out of a trained model."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field

from .envelope import Inputs, Options
from .half_maps import SMALLEST_VOXEL_A, WIDEST_VOXEL_A
from .memory import REPORT_BYTES, MemoryEstimate, volumes
from .particle_images import TrainedRun, epoch_field, run_field

USUAL_BOX = 128
"""Box by which memory is reckoned before a run is opened."""


def _even(box: int) -> int:
    if box % 2:
        raise ValueError(f"{box} is odd; a box must be even")
    return box


Box = Annotated[int, Field(ge=8, le=2048), AfterValidator(_even)]


class RunInputs(Inputs):
    """A finished training."""

    run: TrainedRun = run_field()


class SeriesOptions(Options):
    """How volumes of a series are written."""

    epoch: int | None = epoch_field()
    voxel_size_A: float | None = Field(
        None,
        ge=SMALLEST_VOXEL_A,
        le=WIDEST_VOXEL_A,
        validation_alias=AliasChoices("voxel_size_A", "Apix", "apix"),
        description="voxel size of the model's own volumes in Angstrom; as the run has it if empty",
    )
    flip: bool = Field(
        False,
        description="mirror the volumes about the voxel at the centre: the other hand. they lie one voxel higher along "
        "z than cryoDRGN's, which turns the voxels' order round",
    )
    invert: bool = Field(False, description="dark density on bright")
    low_pass_A: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("low_pass_A", "low_pass"),
        description="leave out what is finer than this resolution, in Angstrom",
    )
    box: Box | None = Field(
        None,
        validation_alias=AliasChoices("box", "downsample", "d"),
        description="resample volumes to this even box, in voxels; the extent stays",
    )
    crop: Box | None = Field(None, description="cut the middle out: this even box, in voxels as they are written")


def series_memory(box: int, kept: float = 12) -> MemoryEstimate:
    """What a series of volumes wants: on the host those that are compared, on the device a batch and its making.

    Parameters
    ----------
    kept
        Volumes' worth that is held on the host.
    """
    return MemoryEstimate(REPORT_BYTES + volumes(kept, box), volumes(20, box))
