"""Tables that stand beside particles: poses, CTF, and which are wanted; ours (`.npz`) and cryoDRGN's (`.pkl`).

Formats of cryoDRGN: poses are (rotations (N, 3, 3), shifts (N, 2) in parts of the box); CTF is (N, 9): box and pixel
size before any downsampling, defocus U, V in A, angle in degrees, kV, Cs in mm, amplitude contrast, phase shift in
degrees; a selection is an array of indices from 0 on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

from ..formats.array_file import read_array, read_arrays
from ..formats.pickled_arrays import read_pickled
from .ctf_bounds import CTF_BOUNDS
from .particle_set import CtfColumns, ParticleSet
from .set_arrays import set_of
from .source import COARSEST_A, FINEST_A

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

_ORTHONORMAL = 1e-3
_MOST_TEXT_BYTES = 1 << 28
_CTF_COLUMNS = 9
_CTF_RANGES = {"voltage_kV": CTF_BOUNDS[0], "cs_mm": CTF_BOUNDS[1], "amplitude_contrast": CTF_BOUNDS[2]}


def with_poses(particles: ParticleSet, path: Path, selection: Path | None = None) -> ParticleSet:
    """The set with poses from a file.

    Parameters
    ----------
    selection
        Where the file may have rows of the selected particles only, as cryoDRGN's may.

    Raises
    ------
    InputInvalid
        If it is no table of poses, its rotations are none, or it has not a row for each particle.
    """
    if path.suffix.lower() == ".npz":
        other = set_of(read_arrays(path), path)
        if other.rotations is None or other.shifts_A is None:
            raise InputInvalid(f"{path}: holds no poses; parse a table that has them")
        _expect_rotations(other.rotations, path)
        if not np.isfinite(other.shifts_A).all():
            raise InputInvalid(f"{path}: holds shifts that are no numbers; parse the table again")
        at = _rows_of(particles, other, path, selection)
        return replace(particles, rotations=other.rotations[at], shifts_A=other.shifts_A[at])
    rotations, shifts = _pickled_poses(path)
    at = _rows(particles, len(rotations), path, selection)
    scale_A = particles.box * particles.pixel_size_A[:, None]
    return replace(particles, rotations=rotations[at], shifts_A=shifts[at] * scale_A)


def with_ctf(
    particles: ParticleSet, path: Path, selection: Path | None = None, *, keep_pixel_size: bool = False
) -> ParticleSet:
    """The set with CTF parameters from a file, and with the pixel size that it implies, row by row.

    Raises
    ------
    InputInvalid
        If it is no table of CTF parameters, one cannot be, or it has not a row for each particle.
    """
    if path.suffix.lower() == ".npz":
        other = set_of(read_arrays(path), path)
        if other.ctf is None:
            raise InputInvalid(f"{path}: holds no CTF parameters; parse a table that has them")
        at = _rows_of(particles, other, path, selection)
        ctf, size_A = other.ctf.of(at), other.pixel_size_A[at] * other.box / particles.box
    else:
        table = _pickled_ctf(path)
        table = table[_rows(particles, len(table), path, selection)]
        # Of each row its own: particles of several microscopes may be in one table.
        size_A = table[:, 1] * table[:, 0] / particles.box
        ctf = _ctf_of(table)
    _expect_ctf(ctf, size_A, path)
    if keep_pixel_size:
        return replace(particles, ctf=ctf)
    shifts_A = particles.shifts_A
    if shifts_A is not None and particles.shifts_in_pixels:
        shifts_A = shifts_A * (size_A / particles.pixel_size_A)[:, None]
    return replace(particles, ctf=ctf, pixel_size_A=size_A, shifts_A=shifts_A)


def with_selection(particles: ParticleSet, path: Path) -> ParticleSet:
    """The particles that a file selects, in its order; raises `InputInvalid` for indices that are none of theirs."""
    chosen = particles.of(selected_rows(path, len(particles), particles.name))
    return replace(chosen, table_rows=len(particles))


def selected_rows(path: Path, count: int, name: str) -> NDArray[np.int64]:
    """Indices (K,) from 0 on of a file, checked against a number of particles.

    Raises
    ------
    InputInvalid
        If it holds no indices, one twice, or one beyond the end.
    """
    values = _indices(path)
    if values.dtype.kind == "b" and values.ndim == 1:
        if len(values) != count:
            raise InputInvalid(f"{path}: is a mask of {len(values)} particles, and {name} has {count}; give its own")
        values = np.flatnonzero(values)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and len(values) > 0):
        raise InputInvalid(f"{path}: holds no list of indices (whole numbers from 0 on)")
    if len(values) == 0:
        raise InputInvalid(f"{path}: selects no particle; give at least one index")
    least, most = int(values.min()), int(values.max())
    if least < 0:
        raise InputInvalid(f"{path}: holds the index {least}; indices are counted from 0 on")
    if most >= count:
        raise InputInvalid(f"{path}: holds the index {most}, and {name} has {count} particles, from 0 to {count - 1}")
    found = values.astype(np.int64)
    if len(np.unique(found)) < len(found):
        twice, times = np.unique(found, return_counts=True)
        raise InputInvalid(f"{path}: holds the index {twice[times > 1][0]} twice; give each particle once")
    return found


def _indices(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        text = read_bounded(path, _MOST_TEXT_BYTES, is_a="a selection has an index a line")
        try:
            return np.array([int(word) for word in text.split()], np.int64)
        except (ValueError, OverflowError) as error:
            raise InputInvalid(f"{path}: holds something that is no index; write whole numbers from 0 on") from error
    if suffix == ".npy":
        return read_array(path)
    if suffix == ".npz":
        arrays = read_arrays(path)
        named = arrays.get("indices", next(iter(arrays.values())) if len(arrays) == 1 else None)
        if named is None:
            raise InputInvalid(f"{path}: holds no array 'indices'; give a selection")
        return named
    values = read_pickled(path)
    value = np.asarray(values[0]) if len(values) == 1 and isinstance(values[0], list) else values[0]
    if len(values) != 1 or not isinstance(value, np.ndarray):
        raise InputInvalid(f"{path}: is no pickle of one array of indices; give cryoDRGN's ind.pkl")
    return value


def _pickled_poses(path: Path) -> tuple[Numbers, Numbers]:
    values = read_pickled(path)
    parts = values[0] if len(values) == 1 and isinstance(values[0], tuple | list) else values
    if not 1 <= len(parts) <= 2 or not all(isinstance(part, np.ndarray) and part.dtype.kind in "fiu" for part in parts):
        raise InputInvalid(
            f"{path}: holds {len(parts)} parts, where poses are rotations and shifts (cryoDRGN's pose.pkl); of another "
            "program's, give the table of its particles"
        )
    rotations = np.asarray(parts[0], np.float64)
    if rotations.ndim == 2 and rotations.shape[1] == 9:
        rotations = rotations.reshape(-1, 3, 3)
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3):
        raise InputInvalid(f"{path}: its rotations are of shape {parts[0].shape}, not (N, 3, 3) or (N, 9)")
    _expect_rotations(rotations, path)
    shifts = np.zeros((len(rotations), 2)) if len(parts) == 1 else np.asarray(parts[1], np.float64)
    if shifts.shape != (len(rotations), 2):
        raise InputInvalid(
            f"{path}: its shifts are of shape {shifts.shape}, and there are {len(rotations)} rotations; shifts are two "
            "numbers each, x and y"
        )
    if not np.isfinite(shifts).all():
        raise InputInvalid(f"{path}: holds shifts that are no numbers; parse the table again")
    if bool((np.abs(shifts) > 1).any()):
        raise InputInvalid(
            f"{path}: has shifts beyond 1, so they are in pixels, as in old files; give parts of the box (parse the "
            "table again)"
        )
    return rotations, shifts


def _expect_rotations(rotations: Numbers, path: Path) -> None:
    with np.errstate(all="ignore"):
        away = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2), initial=0.0)
        bad = ~((away < _ORTHONORMAL) & (np.linalg.det(np.nan_to_num(rotations)) > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputInvalid(
            f"{path}: the matrix in row {row + 1} is no rotation (not orthonormal); parse the poses again"
        )


def _pickled_ctf(path: Path) -> Numbers:
    values = read_pickled(path)
    if len(values) != 1 or not isinstance(values[0], np.ndarray) or values[0].dtype.kind not in "fiu":
        raise InputInvalid(f"{path}: is no pickle of one array (N, {_CTF_COLUMNS}) of CTF parameters")
    table = np.asarray(values[0], np.float64)
    if table.ndim != 2 or table.shape[1] != _CTF_COLUMNS:
        raise InputInvalid(f"{path}: is of shape {table.shape}, where CTF parameters are (N, {_CTF_COLUMNS})")
    return table


def _ctf_of(table: Numbers) -> CtfColumns:
    count = len(table)
    return CtfColumns(
        defocus_u_A=table[:, 2],
        defocus_v_A=table[:, 3],
        defocus_angle_deg=table[:, 4],
        voltage_kV=table[:, 5],
        cs_mm=table[:, 6],
        amplitude_contrast=table[:, 7],
        phase_shift_deg=table[:, 8],
        bfactor_A2=np.zeros(count),
        scale=np.ones(count),
    )


def _expect_ctf(ctf: CtfColumns, size_A: Numbers, path: Path) -> None:
    checks: Mapping[str, tuple[Numbers, float, float, str]] = {
        "pixel size": (size_A, FINEST_A, COARSEST_A, "is no pixel size in Angstrom"),
        **{
            name: (getattr(ctf, name), least or (1e-3 if name == "voltage_kV" else 0.0), most, why)
            for name, (_, _, least, most, why) in _CTF_RANGES.items()
        },
        "defocus": (np.abs(ctf.defocus_u_A) + np.abs(ctf.defocus_v_A), 0.0, 1e7, "is no defocus in Angstrom"),
        "phase shift": (np.abs(ctf.phase_shift_deg) + np.abs(ctf.defocus_angle_deg), 0.0, 1e5, "is no angle"),
    }
    for name, (values, least, most, why) in checks.items():
        bad = ~((values >= least) & (values <= most))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputInvalid(f"{path}: the {name} in row {row + 1} is {values[row]:g}, which {why}")


def _rows(particles: ParticleSet, there: int, path: Path, selection: Path | None) -> Places:
    """Rows for N images, by their order: such files say nothing of which image a row is of."""
    found = _rows_in_order(len(particles), there, _wanted(particles, selection))
    if found is None:
        raise InputInvalid(
            f"{path}: has {there} rows, and {particles.name} {len(particles)} particles; give the file that was made "
            "of the same particles"
        )
    return found


def _rows_in_order(count: int, there: int, wanted: Places) -> Places | None:
    """Rows for N images of a file that has a row for each, or for each that is wanted (K,); None for any other."""
    if there == count:
        return np.arange(count)
    if there != len(wanted):
        return None
    # Rows of what is not selected are never looked at.
    at = np.zeros(count, np.int64)
    at[wanted] = np.arange(there)
    return at


def _wanted(particles: ParticleSet, selection: Path | None) -> Places:
    """Which images (K,) need a row."""
    if selection is None:
        return np.arange(len(particles))
    return selected_rows(selection, len(particles), particles.name)


def _rows_of(particles: ParticleSet, other: ParticleSet, path: Path, selection: Path | None) -> Places:
    """Rows for N images: by image where both name the same stacks, else by their order, as for downsampled stacks."""
    # Images of another box are others, whatever their stack is called: downsampling numbers them anew.
    if other.box != particles.box or not len(other):
        return _rows(particles, len(other), path, selection)
    wanted = _wanted(particles, selection)
    stacks = _same_stacks(particles, other)
    same = stacks.at[particles.stack]
    # Both halves of a key fit: there are fewer than 2^31 stacks, and images in each.
    key, sought = (other.stack << 31) + other.number, (same << 31) + particles.number
    order = np.argsort(key, kind="stable")
    by_image: Places = order[np.minimum(np.searchsorted(key[order], sought), len(order) - 1)]
    lost = wanted[key[by_image[wanted]] != sought[wanted]]
    is_sure = bool(stacks.is_sure[particles.stack[wanted]].all())
    if len(lost) and is_sure:
        stack = particles.stacks[particles.stack[lost[0]]]
        raise InputInvalid(
            f"{path}: has no row for image {particles.number[lost[0]] + 1} of {stack}, which {particles.name} names; "
            "parse the table of these particles"
        )
    # Copies of an image, as after symmetry expansion, have poses each of their own.
    if len(lost) or len(np.unique(key)) < len(key):
        return _rows(particles, len(other), path, selection)
    by_order = by_image if is_sure else _rows_in_order(len(particles), len(other), wanted)
    if by_order is None or not np.array_equal(by_order[wanted], by_image[wanted]):
        used = particles.stack[wanted]
        unsure = used[~stacks.is_sure[used]][0]
        raise InputInvalid(
            f"{path}: names a stack {other.stacks[stacks.at[unsure]]}, and nothing says whether that is "
            f"{particles.stacks[unsure]}; parse that table again with 'datadir', so that it names stacks in full"
        )
    return by_image


@dataclass(frozen=True)
class _SameStacks:
    """Which stack of another set each of S stacks is, -1 for none; and whether it must be that one, or may be."""

    at: Places
    is_sure: NDArray[np.bool_]


def _same_stacks(particles: ParticleSet, other: ParticleSet) -> _SameStacks:
    """Stacks that two sets have in common.

    A table that was read without its stacks names them as it does, mostly from the folder of a project above it. Such
    a name may be the end of many a path; it is that stack for sure only where the path goes on from such a folder.
    """
    home = None if other.source is None else other.source.absolute().parent
    starts = set() if home is None else {home, *home.parents}
    known: dict[str, list[int]] = {}
    for at, stack in enumerate(other.stacks):
        known.setdefault(stack.name, []).append(at)
    found = [
        _same_stack(stack.absolute(), known.get(stack.name, ()), other.stacks, starts) for stack in particles.stacks
    ]
    return _SameStacks(
        np.array([at for at, _ in found], np.int64), np.array([is_sure for _, is_sure in found], np.bool_)
    )


def _same_stack(
    stack: Path, candidates: Sequence[int], stacks: Sequence[Path], starts: AbstractSet[Path]
) -> tuple[int, bool]:
    """Which of the stacks of this name a full path is, and whether for sure; one that is for sure goes first."""
    may_be = -1
    for at in candidates:
        cut = len(stack.parts) - len(stacks[at].parts)
        if cut < 0 or stack.parts[cut:] != stacks[at].parts:
            continue
        if cut == 0 or Path(*stack.parts[:cut]) in starts:
            return at, True
        may_be = at
    return may_be, False
