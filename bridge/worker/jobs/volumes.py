"""Maps as jobs read them: checked, cubic, with a voxel size, on one grid; one sentence says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.half_maps import HalfMapInputs
from cryobridge.wrappers.formats import mrc

_SMALLEST_BOX = 8
_SAME_VOXEL_SIZE = 1e-3
"""Headers are rounded differently by different programs."""
_LARGEST, _SMALLEST = 1e10, 1e-18
"""Beyond these the squares of a transform in float32 overflow or vanish, and no program writes such maps."""


@dataclass(frozen=True)
class Volume:
    """A cubic map (n, n, n) as (z, y, x) on the CPU, and where it came from."""

    path: Path
    data: torch.Tensor
    voxel_size_A: float

    @property
    def box(self) -> int:
        """Voxels along each axis."""
        return self.data.shape[-1]


@dataclass(frozen=True)
class Pair:
    """Two half-maps and perhaps a mask, all on one grid."""

    half1: Volume
    half2: Volume
    mask: Volume | None

    @property
    def box(self) -> int:
        """Voxels along each axis."""
        return self.half1.box

    @property
    def voxel_size_A(self) -> float:
        """Side of a voxel in Angstrom."""
        return self.half1.voxel_size_A


def read_pair(inputs: HalfMapInputs) -> Pair:
    """Read the half-maps and the mask of a job.

    Raises
    ------
    InputInvalid
        If one cannot be read or used, or they do not belong together.
    """
    half1 = read_map(inputs.half1)
    half2 = read_map(inputs.half2, like=half1)
    if torch.equal(half1.data, half2.data):
        raise InputInvalid(f"{inputs.half1} and {inputs.half2} hold the same map; give the two half-maps")
    return Pair(half1, half2, None if inputs.mask is None else read_mask(inputs.mask, half1))


def read_map(path: Path, *, like: Volume | None = None) -> Volume:
    """Read a map.

    Parameters
    ----------
    path
        MRC, plain or compressed.
    like
        A map on whose grid it must be.

    Raises
    ------
    InputInvalid
        If it cannot be read, is not cubic, has no voxel size, holds one value only or NaN, has a scale that cannot
        be computed with, or is on another grid.
    """
    volume = _read(path)
    if like is not None:
        _same_box(volume, like)
    if not volume.voxel_size_A > 0:
        raise InputInvalid(f"{path}: its header gives no voxel size; set it, resolutions depend on it")
    if bool((volume.data == volume.data.flatten()[0]).all()):
        value = float(volume.data.flatten()[0])
        raise InputInvalid(f"{path}: all voxels are {value:g}; give a map that holds something")
    largest = float(volume.data.abs().max())
    if not _SMALLEST < largest < _LARGEST:
        raise InputInvalid(f"{path}: its largest value is {largest:.1e}; it is damaged, or scale it to about 1")
    if like is not None and abs(volume.voxel_size_A - like.voxel_size_A) > _SAME_VOXEL_SIZE * like.voxel_size_A:
        raise InputInvalid(
            f"{path}: its voxel size {volume.voxel_size_A:g} A is not that of {like.path}, "
            f"{like.voxel_size_A:g} A; correct the header"
        )
    return volume


def read_mask(path: Path, like: Volume) -> Volume:
    """Read a mask, 0 to 1, on the grid of a map; its voxel size does not count, since many programs leave it out.

    Raises
    ------
    InputInvalid
        If it cannot be read, is empty, leaves the range, or has another box.
    """
    mask = _read(path)
    _same_box(mask, like)
    low, high = float(mask.data.min()), float(mask.data.max())
    if high <= 0:
        raise InputInvalid(f"{path}: the mask is empty; give one that covers the particle")
    if low < -0.01 or high > 1.01:
        raise InputInvalid(f"{path}: the mask runs from {low:g} to {high:g}, not from 0 to 1; is it a mask?")
    return Volume(path, mask.data.clamp(0, 1), like.voxel_size_A)


def read_spectrum(path: Path, like: Volume) -> Volume:
    """Read a Fourier volume such as a 3DFSC, for maps of one grid; its voxel size does not count, nobody sets it.

    Raises
    ------
    InputInvalid
        If it cannot be read, has another box, or holds nothing above 0.
    """
    spectrum = _read(path)
    _same_box(spectrum, like)
    if not float(spectrum.data.max()) > 0:
        raise InputInvalid(f"{path}: no value is above 0; give a 3DFSC, such as FSC3D.mrc of map.fsc3d")
    return Volume(path, spectrum.data, like.voxel_size_A)


def _read(path: Path) -> Volume:
    array, header = mrc.read(path)
    shape = array.shape
    if shape[0] == 1:
        raise InputInvalid(f"{path}: is a single image of {shape[2]} x {shape[1]}; give a reconstruction")
    if len(set(shape)) != 1:
        raise InputInvalid(f"{path}: its box {shape[2]} x {shape[1]} x {shape[0]} is not a cube; pad or crop it")
    if shape[0] < _SMALLEST_BOX:
        raise InputInvalid(f"{path}: a box of {shape[0]} is too small; the smallest is {_SMALLEST_BOX}")
    sizes = header.voxel_size_A
    if max(sizes) - min(sizes) > _SAME_VOXEL_SIZE * max(sizes):
        shown = " x ".join(f"{size:g}" for size in reversed(sizes))
        raise InputInvalid(f"{path}: its voxels are not cubes ({shown} A); resample it")
    return Volume(path, torch.from_numpy(array), sizes[2])


def _same_box(volume: Volume, like: Volume) -> None:
    if volume.box != like.box:
        raise InputInvalid(
            f"{volume.path}: its box {volume.box} is not that of {like.path}, {like.box}; give maps on one grid"
        )
