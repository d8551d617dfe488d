"""A model's volume as a user wants it: hand, sign, low-pass, voxel size, box, and where it then lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from cryobridge.core.fourier import lowpass_raised_cosine, resample
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.latent_series import SeriesOptions
from cryobridge.wrappers.formats import mrc

from ..jobs.limits import within_grid
from .run_folder import LatentRun

CONSENSUS = "consensus.mrc"
_SMALLEST_BOX, _LARGEST_BOX = 8, 2048


@dataclass(frozen=True)
class Finishing:
    """What is done to each volume.

    model_box, model_voxel_A
        Of the model's volumes.
    resampled
        Box after resampling, of the same extent.
    box, voxel_size_A, position
        Of what is written.
    """

    model_box: int
    model_voxel_A: float
    flip: bool
    invert: bool
    low_pass_A: float | None
    resampled: int
    box: int
    voxel_size_A: float
    position: mrc.MapPosition

    def of(self, volume: Tensor) -> Tensor:
        """The volume (box, box, box) to write, of the model's (n, n, n)."""
        if self.flip:
            # About the voxel at the centre, so that the mirror image lies where the volume does.
            volume = volume.flip(0).roll(1, 0)
        if self.invert:
            volume = -volume
        if self.low_pass_A is not None:
            volume = lowpass_raised_cosine(volume, self.model_voxel_A, self.low_pass_A)
        if self.resampled != self.model_box:
            volume = resample(volume, self.resampled)
        first = self.resampled // 2 - self.box // 2
        inside = slice(first, first + self.box)
        return volume[inside, inside, inside]


def finishing_of(options: SeriesOptions, run: LatentRun, target_voxel_size_A: float | None = None) -> Finishing:
    """Reckon the grid of what is written.

    Parameters
    ----------
    target_voxel_size_A
        Voxel size to resample to, as near as an even box comes to it; the options' box otherwise.

    Raises
    ------
    InputInvalid
        If a box or a resolution is none that the run's volumes allow.
    """
    n, voxel_A = run.model.box, options.voxel_size_A or run.model.voxel_size_A
    resampled = _resampled_box(options, run, n, voxel_A, target_voxel_size_A)
    if options.crop is not None and options.crop > resampled:
        raise InputInvalid(f"crop {options.crop}: is larger than the box of {resampled}; give a smaller one")
    box = options.crop or resampled
    low_pass_A = options.low_pass_A
    if low_pass_A is not None:
        low_pass_A = within_grid("low_pass_A", low_pass_A, run.path, n, voxel_A)
    return Finishing(
        model_box=n,
        model_voxel_A=voxel_A,
        flip=options.flip,
        invert=options.invert,
        low_pass_A=low_pass_A,
        resampled=resampled,
        box=box,
        voxel_size_A=voxel_A * n / resampled,
        position=_position(run.path, n, voxel_A, resampled, box),
    )


def _resampled_box(options: SeriesOptions, run: LatentRun, n: int, voxel_A: float, target_A: float | None) -> int:
    """Box of the same extent that the options ask for."""
    if target_A is not None:
        resampled = 2 * round(n * voxel_A / target_A / 2)
        if not _SMALLEST_BOX <= resampled <= _LARGEST_BOX:
            raise InputInvalid(
                f"target_voxel_size_A {target_A:g}: makes a box of {resampled}; give one between "
                f"{n * voxel_A / _LARGEST_BOX:.3g} and {n * voxel_A / _SMALLEST_BOX:.3g} A"
            )
        return resampled
    if options.box is not None and options.box > n:
        raise InputInvalid(
            f"box {options.box}: volumes of {run.path} have a box of {n}; give a smaller one, or a finer "
            "target_voxel_size_A to interpolate"
        )
    return options.box or n


def _position(run: Path, n: int, voxel_A: float, resampled: int, box: int) -> mrc.MapPosition:
    """Where the first voxel of the written box lies, if the consensus says where its own does."""
    consensus = run / CONSENSUS
    here = mrc.read_header(consensus).position if consensus.is_file() else mrc.AT_ZERO
    step_A = voxel_A * n / resampled
    # The centre stays the centre: what is cut off before it is told in voxels that are written.
    cut = resampled // 2 - box // 2
    moved_A = cut * step_A + (n // 2) * voxel_A - (resampled // 2) * step_A
    origin_A = tuple(place + moved_A for place in here.origin_A)
    start = tuple(round(first * voxel_A / step_A) + cut for first in here.start)
    return mrc.MapPosition((start[0], start[1], start[2]), (origin_A[0], origin_A[1], origin_A[2]))
