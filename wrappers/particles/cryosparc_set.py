"""Particles of a CryoSPARC table, with what it passed through, as a set of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.cs_table import UID, Columns, joined, read_table
from .alignments import of_alignment
from .ctf_bounds import CTF_BOUNDS
from .particle_set import Contrast, CtfColumns, ParticleSet
from .rotations import matrices_of_angles
from .source import LARGEST_BOX, ParticleSource
from .stack_finding import expect_members, found_stacks
from .table_choice import TableChoice

_CTF: dict[str, tuple[str, float, float | None]] = {
    "defocus_u_A": ("ctf/df1_A", 1.0, None),
    "defocus_v_A": ("ctf/df2_A", 1.0, None),
    "defocus_angle_deg": ("ctf/df_angle_rad", 180 / np.pi, None),
    "voltage_kV": ("ctf/accel_kv", 1.0, None),
    "cs_mm": ("ctf/cs_mm", 1.0, None),
    "amplitude_contrast": ("ctf/amp_contrast", 1.0, None),
    "phase_shift_deg": ("ctf/phase_shift_rad", 180 / np.pi, 0.0),
    "bfactor_A2": ("ctf/bfactor", 1.0, 0.0),
    "scale": ("ctf/scale", 1.0, 1.0),
}
"""Column of each parameter, its factor, and what it is where a table does not say; None where it has to."""
_OF_IMAGES = ("blob/", "location/micrograph_path", "location/micrograph_uid", "ctf/exp_group_id", UID)
_REFINEMENT = ("alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A", "alignments3D/split")


def cryosparc_set(path: Path, passthrough: Sequence[Path], choice: TableChoice) -> ParticleSet:
    """Read a `.cs`.

    Raises
    ------
    InputInvalid
        If it is no table of particles with images, a passthrough file is of another job, or a number cannot be one.
    """
    # Classes' slots are as many as there are classes, and are read only when they are asked for.
    wanted = (*_OF_IMAGES, *_REFINEMENT, *(column for column, _, _ in _CTF.values()))
    keep = None if choice.alignment == "classes" else wanted
    columns = joined(read_table(path, keep), [read_table(one, keep) for one in passthrough], str(path))
    source = ParticleSource(columns, str(path))
    texts, stack, number = _images(source, choice, path)
    found = found_stacks(texts, path, choice.datadir) if choice.images else None
    if found is not None:
        expect_members(found, stack, number, path)
    said = _said_box(source, path)
    if found is not None and said not in (0, found.box):
        raise InputInvalid(
            f"{found.paths[0]}: holds images of {found.box} pixels, and {path} says {said} ('blob/shape'); give the "
            "table of these images"
        )
    box = found.box if found is not None else choice.box or said
    if box < 1:
        raise InputInvalid(f"{path}: does not say how large the images are ('blob/shape'); give 'box'")
    remarks: list[str] = []
    micrographs, micrograph = _micrographs(source)
    rotations, shifts_A, half = _poses(source, choice, remarks)
    return ParticleSet(
        name=str(path),
        source=path,
        rows=np.arange(source.rows),
        stacks=tuple(map(Path, texts)) if found is None else found.paths,
        stack=stack,
        number=number,
        box=box,
        pixel_size_A=_pixel_sizes(source, choice),
        optics_group=_numbered(source.numbers("ctf/exp_group_id")) if source.has("ctf/exp_group_id") else _none(source),
        micrograph=micrograph,
        micrographs=micrographs,
        half=half,
        rotations=rotations,
        shifts_A=shifts_A,
        ctf=_ctf(source, choice, remarks) if choice.ctf else None,
        uid=_uids(columns),
        contrast=_contrast(source, path),
        remarks=tuple(remarks),
    )


def _images(
    source: ParticleSource, choice: TableChoice, path: Path
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Names of stacks, and of each image its stack and number; where none are needed, there may be none."""
    if not source.has("blob/path"):
        if choice.images:
            raise InputInvalid(
                f"{path}: has no images ('blob/path'); give the passthrough file of the same job as well"
            )
        return (), np.full(source.rows, -1, np.int64), np.arange(source.rows)
    names, stack = np.unique(source.texts("blob/path"), return_inverse=True)
    return tuple(map(str, names)), stack.ravel().astype(np.int64), source.counts("blob/idx")


def _said_box(source: ParticleSource, path: Path) -> int:
    """Pixels along a side as the table says; 0 where it does not."""
    if not source.has("blob/shape"):
        return 0
    shape = source.counts("blob/shape", 2)
    source.refuse((shape[:, 0] != shape[:, 1]) | (shape[:, 0] > LARGEST_BOX), "blob/shape", "is no square image")
    other = np.flatnonzero(shape[:, 0] != shape[0, 0])
    if len(other):
        raise InputInvalid(
            f"{path}: its images differ in their box, {shape[0, 0]} pixels in row 1 and {shape[other[0], 0]} in row "
            f"{other[0] + 1}; give particles of one box"
        )
    return int(shape[0, 0])


def _pixel_sizes(source: ParticleSource, choice: TableChoice) -> NDArray[np.float64]:
    if choice.pixel_size_A is not None:
        return np.full(source.rows, choice.pixel_size_A)
    if not source.has("blob/psize_A"):
        raise InputInvalid(f"{source.name}: does not say the pixel size ('blob/psize_A'); give 'pixel_size_A'")
    return source.pixel_sizes("blob/psize_A")


def _poses(
    source: ParticleSource, choice: TableChoice, remarks: list[str]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, NDArray[np.int64]]:
    """Rotations, shifts and half-sets, as far as they are there."""
    half = np.zeros(source.rows, np.int64)
    alignment = choice.alignment
    if alignment == "refinement" and not source.has("alignments3D/pose"):
        remarks.append(
            "The table has no alignments of a refinement ('alignments3D/pose'), so there are no poses; give the "
            "passthrough file of the same job as well, or for classes 'alignment: classes' of particles.parse."
        )
        alignment = "none"
    if alignment == "none":
        return None, None, half
    table, slot = of_alignment(source, alignment, 0.0, remarks)
    angles = np.stack([table[label] for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")], axis=1)
    shifts_A = np.stack([table["rlnOriginXAngst"], table["rlnOriginYAngst"]], axis=1).astype(np.float64)
    if source.has(f"{slot}/split"):
        half = np.clip(source.counts(f"{slot}/split"), 0, 1) + 1
    return matrices_of_angles(angles.astype(np.float64)), shifts_A, half


def _ctf(source: ParticleSource, choice: TableChoice, remarks: list[str]) -> CtfColumns | None:
    given = choice.ctf_given
    missing = [
        column
        for name, (column, _, default) in _CTF.items()
        if default is None and name not in given and not source.has(column)
    ]
    if missing:
        remarks.append(f"{', '.join(missing)}: not in the table, so there is no CTF.")
        return None
    columns = {}
    for name, (column, factor, default) in _CTF.items():
        if name in given or not source.has(column):
            columns[name] = np.full(source.rows, given.get(name, default or 0.0))
        else:
            columns[name] = source.numbers(column) * factor
    for column, _, least, most, why in CTF_BOUNDS:
        values = next(columns[name] for name, (other, _, _) in _CTF.items() if other == column)
        source.refuse((values < least) | (values > most), column, why)
    source.refuse(columns["voltage_kV"] == 0, "ctf/accel_kv", "is 0 kV, with which no CTF can be computed")
    return CtfColumns(**columns)


def _contrast(source: ParticleSource, path: Path) -> Contrast | None:
    if not source.has("blob/sign"):
        return None
    dark = int(np.count_nonzero(source.numbers("blob/sign") < 0))
    if 0 < dark < source.rows:
        raise InputInvalid(
            f"{path}: {dark} of {source.rows} particles are dark on bright ('blob/sign' -1) and the others are not; "
            "give those of one sort"
        )
    return "dark" if dark else "bright"


def _micrographs(source: ParticleSource) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    column = "location/micrograph_path"
    if source.has(column) and not source.is_blank(column).any():
        names, which = np.unique(source.texts(column), return_inverse=True)
        return tuple(map(str, names)), which.ravel().astype(np.int64)
    return (), np.full(source.rows, -1, np.int64)


def _numbered(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers from 0 on for what is the same."""
    return np.unique(values, return_inverse=True)[1].ravel().astype(np.int64)


def _none(source: ParticleSource) -> NDArray[np.int64]:
    return np.zeros(source.rows, np.int64)


def _uids(columns: Columns) -> NDArray[np.uint64] | None:
    return columns[UID].astype(np.uint64) if UID in columns else None
