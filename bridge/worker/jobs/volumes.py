"""Maps as jobs read them: checked, cubic, with a voxel size, on one grid; one sentence says what is wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from cryobridge.core.fourier import solvent_level
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.half_maps import SMALLEST_VOXEL_A, WIDEST_VOXEL_A, HalfMapInputs
from cryobridge.wrappers.formats import mrc

from .mask_values import as_mask
from .pair_doubts import doubts

_SMALLEST_BOX = 8
_SAME_VOXEL_SIZE = 1e-3
"""Headers are rounded differently by different programs."""
_LARGEST, _SMALLEST = 1e10, 1e-18
"""Beyond these the squares of a transform in float32 overflow or vanish, and no program writes such maps."""
_OFF_ZERO = 0.25
"""Level of the solvent, in deviations of the map, from which on numbers do not stand on 0."""
_UNTOLD_A = (0.0, 1.0)
"""Voxel sizes that programs write into masks when they know none."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Volume:
    """A cubic map (n, n, n) as (z, y, x) on the CPU, and where it came from.

    position
        Where it lies, by its header.
    remarks
        What a user should know of how it was read, in sentences.
    voxel_size_given
        Whether the user gave the voxel size, in place of the header's.
    """

    path: Path
    data: torch.Tensor
    voxel_size_A: float
    position: mrc.MapPosition = mrc.AT_ZERO
    remarks: tuple[str, ...] = ()
    voxel_size_given: bool = False

    @property
    def box(self) -> int:
        """Voxels along each axis."""
        return self.data.shape[-1]


@dataclass(frozen=True)
class Pair:
    """Two half-maps and perhaps a mask, all on one grid.

    remarks
        What a user should know of them, in sentences.
    held_shell
        Last shell that the half-maps hold something in; box // 2 unless they were filtered before. None: not looked at.
    """

    half1: Volume
    half2: Volume
    mask: Volume | None
    remarks: tuple[str, ...] = ()
    held_shell: int | None = None

    @property
    def box(self) -> int:
        """Voxels along each axis."""
        return self.half1.box

    @property
    def voxel_size_A(self) -> float:
        """Side of a voxel in Angstrom."""
        return self.half1.voxel_size_A

    @property
    def position(self) -> mrc.MapPosition:
        """Where every map of the pair's lies: there where half-map 1 does."""
        return self.half1.position

    @property
    def held_A(self) -> float:
        """Resolution in Angstrom beyond which the half-maps hold nothing; Nyquist unless they were filtered before."""
        if self.held_shell is None or self.held_shell >= self.box // 2:
            return 2 * self.voxel_size_A
        return self.box * self.voxel_size_A / max(1, self.held_shell)

    def held(self, curve: torch.Tensor) -> torch.Tensor:
        """An FSC curve (n // 2 + 1,) as far as it says something: 0 in shells in which the half-maps hold nothing."""
        if self.held_shell is None or self.held_shell >= self.box // 2:
            return curve
        shell = torch.arange(curve.shape[-1], device=curve.device)
        return torch.where(shell <= self.held_shell, curve, torch.zeros_like(curve))


def read_pair(inputs: HalfMapInputs, voxel_size_A: float | None = None, device: torch.device = _CPU) -> Pair:
    """Read the half-maps and the mask of a job, each half-map with its solvent at 0.

    Parameters
    ----------
    inputs
        The files.
    voxel_size_A
        In place of what the headers say.
    device
        To look at them on.

    Raises
    ------
    InputInvalid
        If one cannot be read or used, or they do not belong together.
    """
    half1 = read_map(inputs.half1, voxel_size_A=voxel_size_A)
    half2 = read_map(inputs.half2, like=half1)
    if torch.equal(half1.data, half2.data):
        raise InputInvalid(f"{inputs.half1} and {inputs.half2} hold the same map; give the two half-maps")
    mask = None if inputs.mask is None else read_mask(inputs.mask, half1)
    half1, half2 = (on_zero(half, mask) for half in (half1, half2))
    return under(Pair(half1, half2, None), mask, device)


def under(pair: Pair, mask: Volume | None, device: torch.device) -> Pair:
    """The pair with a mask, looked at under it.

    Raises
    ------
    InputInvalid
        If the half-maps do not belong together.
    """
    half1, half2 = pair.half1, pair.half2
    found = doubts(
        (half1.data.to(device), half2.data.to(device)),
        (half1.path, half2.path),
        None if mask is None else mask.data.to(device),
        half1.voxel_size_A,
    )
    remarks = (*half1.remarks, *half2.remarks, *(() if mask is None else mask.remarks), *found.remarks)
    return Pair(half1, half2, mask, remarks, found.held_shell)


def read_map(path: Path, *, like: Volume | None = None, voxel_size_A: float | None = None) -> Volume:
    """Read a map.

    Parameters
    ----------
    path
        MRC, plain or compressed.
    like
        A map on whose grid it must be.
    voxel_size_A
        In place of what the header says.

    Raises
    ------
    InputInvalid
        If it cannot be read, is not cubic, has no voxel size or an impossible one, holds one value only or NaN, has a
        scale that cannot be computed with, or is on another grid.
    """
    given = like.voxel_size_A if like is not None and like.voxel_size_given else voxel_size_A
    volume, header = _read(path)
    if like is not None:
        _same_box(volume, like)
    volume = _with_voxel_size(volume, header, given)
    if bool((volume.data == volume.data.flatten()[0]).all()):
        value = float(volume.data.flatten()[0])
        raise InputInvalid(f"{path}: all voxels are {value:g}; give a map that holds something")
    largest = float(volume.data.abs().max())
    if not _SMALLEST < largest < _LARGEST:
        raise InputInvalid(f"{path}: its largest value is {largest:.1e}; it is damaged, or scale it to about 1")
    if like is not None and abs(volume.voxel_size_A - like.voxel_size_A) > _SAME_VOXEL_SIZE * like.voxel_size_A:
        raise InputInvalid(
            f"{path}: its voxel size {volume.voxel_size_A:g} A is not that of {like.path}, "
            f"{like.voxel_size_A:g} A; correct the header, or give voxel_size_A (--apix) for both"
        )
    return volume if like is None else _noting_position(volume, like)


def read_mask(path: Path, like: Volume) -> Volume:
    """Read a mask on the grid of a map, as numbers from 0 to 1.

    Its voxel size and its position do not count, since many programs leave them out; where they are told and differ
    from the map's, a remark says so.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no mask, see `mask_values.as_mask`, or has another box.
    """
    mask, header = _read(path)
    _same_box(mask, like)
    values, remarks = as_mask(mask.data, header.dtype, path)
    size = mask.voxel_size_A
    if size not in _UNTOLD_A and not like.voxel_size_given and abs(size - like.voxel_size_A) > 0.01 * like.voxel_size_A:
        remarks.append(
            f"{path}: its voxel size is {size:g} A by its header and that of {like.path} {like.voxel_size_A:g} A; it "
            "was taken to be on the same grid, voxel by voxel."
        )
    found = Volume(path, values, like.voxel_size_A, mask.position, tuple(remarks))
    return _noting_position(found, like)


def read_spectrum(path: Path, like: Volume) -> Volume:
    """Read a Fourier volume such as a 3DFSC, for maps of one grid; its voxel size does not count, nobody sets it.

    Raises
    ------
    InputInvalid
        If it cannot be read, has another box, or holds nothing above 0.
    """
    spectrum, _ = _read(path)
    _same_box(spectrum, like)
    if not float(spectrum.data.max()) > 0:
        raise InputInvalid(f"{path}: no value is above 0; give a 3DFSC, such as FSC3D.mrc of map.fsc3d")
    return Volume(path, spectrum.data, like.voxel_size_A)


def on_zero(volume: Volume, mask: Volume | None) -> Volume:
    """The map with its solvent at 0, where its numbers stand on another level, and a remark that says so."""
    level = solvent_level(volume.data, None if mask is None else mask.data)
    deviation = float(volume.data.double().std())
    if abs(level) < _OFF_ZERO * deviation:
        return volume
    remark = f"{volume.path}: its solvent lies at {level:.4g} and not at 0; that was taken off."
    return dataclasses.replace(volume, data=volume.data - level, remarks=(*volume.remarks, remark))


def _read(path: Path) -> tuple[Volume, mrc.MrcHeader]:
    array, header = mrc.read(path)
    shape = array.shape
    if shape[0] == 1:
        raise InputInvalid(f"{path}: is a single image of {shape[2]} x {shape[1]}; give a reconstruction")
    if len(set(shape)) != 1:
        raise InputInvalid(f"{path}: its box {shape[2]} x {shape[1]} x {shape[0]} is not a cube; pad or crop it")
    if shape[0] < _SMALLEST_BOX:
        raise InputInvalid(f"{path}: a box of {shape[0]} is too small; the smallest is {_SMALLEST_BOX}")
    volume = Volume(path, torch.from_numpy(array), header.voxel_size_A[2], header.position)
    return volume, header


def _with_voxel_size(volume: Volume, header: mrc.MrcHeader, given_A: float | None) -> Volume:
    """The map with the voxel size that the user gave, else its header's."""
    path, size, sizes = volume.path, volume.voxel_size_A, header.voxel_size_A
    if given_A is not None:
        told = size > 0 and abs(size - given_A) > _SAME_VOXEL_SIZE * given_A
        remarks = (f"{path}: its voxels are {given_A:g} A as given, not {size:.4g} A as its header has it.",)
        return dataclasses.replace(
            volume, voxel_size_A=given_A, voxel_size_given=True, remarks=remarks if told else volume.remarks
        )
    if max(sizes) - min(sizes) > _SAME_VOXEL_SIZE * max(sizes):
        shown = " x ".join(f"{size:g}" for size in reversed(sizes))
        raise InputInvalid(f"{path}: its voxels are not cubes ({shown} A); resample it")
    if not size > 0:
        raise InputInvalid(
            f"{path}: its header gives no voxel size; give voxel_size_A (--apix), since resolutions depend on it"
        )
    if not SMALLEST_VOXEL_A <= size <= WIDEST_VOXEL_A:
        cell = header.cell_A[2]
        meant = [value for value in (cell / volume.box, cell) if SMALLEST_VOXEL_A <= value <= WIDEST_VOXEL_A]
        perhaps = f" (perhaps {' or '.join(f'{value:.4g}' for value in meant)})" if meant else ""
        raise InputInvalid(
            f"{path}: its header gives voxels of {size:.3g} A (a cell of {cell:.4g} A; the box has {volume.box} "
            f"voxels), which no half-map has; give voxel_size_A (--apix){perhaps}"
        )
    return volume


def _noting_position(volume: Volume, like: Volume) -> Volume:
    """The map with a remark, if by its header it does not lie where the other does."""
    if volume.position.same_as(like.position, like.voxel_size_A):
        return volume
    remark = (
        f"{volume.path}: by its header it does not lie where {like.path} does ({volume.position}; {like.position}); "
        "the two were compared voxel by voxel."
    )
    return dataclasses.replace(volume, remarks=(*volume.remarks, remark))


def _same_box(volume: Volume, like: Volume) -> None:
    if volume.box != like.box:
        raise InputInvalid(
            f"{volume.path}: its box {volume.box} is not that of {like.path}, {like.box}; give maps on one grid"
        )
