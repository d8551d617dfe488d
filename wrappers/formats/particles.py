"""The views of a particle set: RELION's particle STAR files (3.0 to 5) and CryoSPARC's `.cs`, plain or compressed.

Angles are RELION's (rot, tilt, psi in degrees), whatever the file. Nothing is ever unpickled. Only the angles
are kept, so a set of a million particles takes seconds and a few dozen megabytes, however wide its rows.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..particles.rotations import angles_of_vectors
from .compressed import MAGIC_BYTES, is_compressed
from .cs_table import table_rows
from .foreign import is_mrc, named_for_what_it_is
from .numpy_header import MAGIC, parsed_numpy_header
from .particle_star import ANGLES, MAX_PARTICLES, TABLE, angles_of_star
from .table_content import TableContent, opened_table

_CHUNK_BYTES = 1 << 20
_COMPRESSED_CS_MAGIC = b"\x95CSDAT"
_POSE, _POSE_2D = "alignments3D/pose", "alignments2D/pose"
_AT_ONCE = 100_000
"""Particles whose vectors and matrices are held at a time."""
_MOST_DEG = 3600.0
"""Ten turns: programs keep angles within one or two, and what is beyond is a damaged number."""
_UNSET_DEG = -999.0
"""RELION's value of an angle that was never set."""
_ONE_VIEW = 1e-4
"""Unit vectors nearer to each other than this are one view."""
_FEW_UNALIGNED = 0.05
"""Share of particles without angles from which on a set counts as not aligned; ours."""


def read_views(path: Path) -> NDArray[np.float64]:
    """Read the view of every particle.

    Parameters
    ----------
    path
        RELION STAR or CryoSPARC `.cs`, told apart by its content; gzip and bzip2 are unpacked.

    Returns
    -------
    (N, 3) rot, tilt, psi in degrees, N > 0.

    Raises
    ------
    InputInvalid
        If it cannot be read, is cut off, holds no particle or no angles, or an angle that cannot be one; for
        particles that were not aligned in 3D; also for subtomograms, each of which is seen from many sides.
    """
    with opened_table(path) as content:
        if is_mrc(content.head):
            raise InputInvalid(f"{path}: is an MRC file of a map or of images, not {TABLE}; give the table")
        if content.head.startswith(_COMPRESSED_CS_MAGIC):
            raise InputInvalid(
                f"{path}: is a compressed .cs; export the particles, or save them with numpy, and give that"
            )
        is_cs = content.head.startswith(MAGIC)
        angles = _angles_of_cs(content) if is_cs else _angles_of_star(content, path)
    if len(angles) == 0:
        raise InputInvalid(f"{path}: holds no particles; give the particles of the refinement")
    if (complaint := why_not_aligned(angles)) is not None:
        raise InputInvalid(
            f"{path}: {complaint}, so they were not aligned in 3D; give the particles of a finished 3D refinement"
        )
    return angles


def read_star_angles(descriptor: int, name: str) -> NDArray[np.float64]:
    """Read the angles of a STAR file that RELION wrote, whether or not its particles were aligned.

    Parameters
    ----------
    descriptor
        Open for reading; its position is not changed.
    name
        What to call the file in messages.

    Returns
    -------
    (N, 3) rot, tilt, psi in degrees.

    Raises
    ------
    InputInvalid
        As `read_views`, but for what is only wrong with unaligned particles; also if it is packed.
    """
    try:
        if is_compressed(os.pread(descriptor, MAGIC_BYTES, 0)):
            raise InputInvalid(f"{name}: is packed, which RELION's files never are")
        angles = angles_of_star(TableContent(descriptor, name), None)
    except OSError as error:
        raise InputInvalid(f"{name}: cannot be read: {error.strerror}; give a file of particles") from error
    _refuse_impossible(angles, ANGLES, _MOST_DEG, "an angle in degrees", name)
    return angles


def why_not_aligned(angles: NDArray[np.float64]) -> str | None:
    """What shows that particles with these angles (N, 3) were never aligned in 3D; None where nothing does."""
    count = len(angles)
    unset = int(np.count_nonzero((angles == _UNSET_DEG).any(axis=1)))
    if unset:
        return f"{_of(unset, count)} have angles of -999, which RELION writes where none were found"
    # A mirrored image is the same view from behind.
    first = _directions(angles[:1])
    if count > 1 and all(
        bool((np.linalg.norm(np.cross(_directions(angles[at : at + _AT_ONCE]), first), axis=1) < _ONE_VIEW).all())
        for at in range(0, count, _AT_ONCE)
    ):
        return f"all {count} particles have one and the same view"
    zero = int(np.count_nonzero((angles == 0.0).all(axis=1)))
    if count > 1 and zero > max(1, _FEW_UNALIGNED * count):
        return f"{_of(zero, count)} have angles of exactly 0, which is where a search begins"
    return None


def is_cryosparc(path: Path) -> bool:
    """Whether a file of particles is called a `.cs`, packed or not."""
    return ".cs" in (suffix.lower() for suffix in path.suffixes)


def _directions(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (N, 3) of views of these angles (N, 3)."""
    rot, tilt = np.radians(angles[:, 0]), np.radians(angles[:, 1])
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=1)


def _of(some: int, count: int) -> str:
    return f"all {count} particles" if some == count else f"{some} of {count} particles"


def _angles_of_star(content: TableContent, path: Path) -> NDArray[np.float64]:
    stranger = named_for_what_it_is(content.head, str(path), TABLE)
    if stranger is not None and not _has_block(path):
        raise InputInvalid(stranger)
    angles = angles_of_star(content, stranger)
    _refuse_impossible(angles, ANGLES, _MOST_DEG, "an angle in degrees", str(path))
    return angles


def _has_block(path: Path) -> bool:
    """Whether a text has a line that begins a block, wherever it is."""
    with opened_table(path) as content:
        before = b"\n"
        while chunk := content.read(_CHUNK_BYTES):
            if b"\ndata_" in before + chunk:
                return True
            before = chunk[-5:]
    return False


def _angles_of_cs(content: TableContent) -> NDArray[np.float64]:
    path = content.name
    try:
        header = parsed_numpy_header(lambda _, size: content.read(size))
    except ValueError as error:
        raise InputInvalid(f"{path}: its header is damaged; copy the .cs again") from error
    dtype = header.dtype
    if dtype is None or dtype.hasobject or dtype.names is None or len(header.shape) != 1:
        raise InputInvalid(f"{path}: is a numpy file but no table of particles; give the .cs of a refinement")
    if _POSE not in dtype.names and _POSE_2D in dtype.names:
        raise InputInvalid(
            f"{path}: has angles of a 2D classification only ('{_POSE_2D}'), so its particles were not aligned in 3D; "
            "give the .cs of a refinement"
        )
    if _POSE not in dtype.names:
        raise InputInvalid(
            f"{path}: has no column '{_POSE}'; give the .cs of a refinement (it may be the one named passthrough)"
        )
    if dtype[_POSE].shape != (3,) or dtype[_POSE].base.kind != "f":
        raise InputInvalid(f"{path}: column '{_POSE}' is not three numbers a particle; give the .cs of a refinement")
    vectors = _poses(content, header.shape[0], dtype)
    _refuse_impossible(vectors, (_POSE,) * 3, np.radians(_MOST_DEG), "a rotation in radians", path)
    # CryoSPARC's rotation takes views to the object; RELION's the object to the view.
    return angles_of_vectors(vectors)


def _poses(content: TableContent, rows: int, dtype: np.dtype[np.void]) -> NDArray[np.float64]:
    """The poses (rows, 3) of the rows that follow, of which a few are held at a time."""
    if rows > MAX_PARTICLES:
        raise InputInvalid(f"{content.name}: announces {rows} particles; more than {MAX_PARTICLES} are not read")
    parts = [np.zeros((0, 3))]
    for table in table_rows(content, rows, dtype):
        # What is no number may warn when it is cast; it is refused by whoever asked.
        with np.errstate(all="ignore"):
            parts.append(table[_POSE].astype(np.float64))
    return np.concatenate(parts)


def _refuse_impossible(
    values: NDArray[np.float64], columns: tuple[str, ...], most: float, what: str, path: str
) -> None:
    """Refuse numbers (N, 3) that are not finite, or larger than any that a program writes there."""
    bad = np.argwhere(~(np.abs(values) <= most))
    if len(bad):
        row, column = (int(index) for index in bad[0])
        raise InputInvalid(
            f"{path}: column '{columns[column]}' of particle {row + 1} of {len(values)} is "
            f"{values[row, column]:g}, which is not {what}; mend it"
        )
