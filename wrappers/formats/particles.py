"""The views of a particle set: RELION's particle STAR files (3.0 to 5) and CryoSPARC's `.cs`, plain or compressed.

Angles are RELION's (rot, tilt, psi in degrees), whatever the file. Nothing is ever unpickled. Only the columns of the
angles are turned into numbers, so a set of a million particles takes seconds.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryobridge.schemas.errors import InputInvalid

from .compressed import Decompressed, is_compressed
from .foreign import is_mrc, named_for_what_it_is
from .star_rows import Table, tables

MAX_BYTES = 4 << 30
"""What is read of one file, unpacked."""

_CHUNK_BYTES = 1 << 22
_MAX_HEADER = 1 << 20
_NUMPY_MAGIC, _COMPRESSED_CS_MAGIC = b"\x93NUMPY", b"\x95CSDAT"
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_SUBTOMOGRAM = ("rlnCtfImage", "rlnCoordinateZ", "rlnCenteredCoordinateZAngst")
"""Columns that only subtomograms have, besides all that begin with `rlnTomo`; RELION 3 has no others."""
_ANGLES_OF_OTHERS = {
    "cisTEMAnglePsi": "cisTEM",
    "phi": "STOPGAP or emClarity",
    "ptclAngleRot": "another program",
    "angleRot": "Xmipp",
}
"""Columns of angles, by the program that has them in a STAR file of its own."""
_TABLE = "a table of particles (RELION .star or CryoSPARC .cs)"
_POSE, _POSE_2D = "alignments3D/pose", "alignments2D/pose"
_PARALLEL = 1e-7
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
        If it cannot be read, is cut off, holds no particle or no angles, or an angle is not a finite number; for
        particles that were not aligned in 3D; also for subtomograms, each of which is seen from many sides.
    """
    raw = _content(path)
    if is_mrc(raw):
        raise InputInvalid(f"{path}: is an MRC file of a map or of images, not {_TABLE}; give the table")
    if raw.startswith(_COMPRESSED_CS_MAGIC):
        raise InputInvalid(f"{path}: is a compressed .cs; export the particles, or save them with numpy, and give that")
    angles = _angles_of_cs(raw, path) if raw.startswith(_NUMPY_MAGIC) else _angles_of_star(raw, path)
    if len(angles) == 0:
        raise InputInvalid(f"{path}: holds no particles; give the particles of the refinement")
    if not np.isfinite(angles).all():
        row = int(np.flatnonzero(~np.isfinite(angles).all(axis=1))[0])
        raise InputInvalid(f"{path}: the angles of particle {row + 1} of {len(angles)} are not finite numbers; mend it")
    if (complaint := _not_aligned(angles)) is not None:
        raise InputInvalid(
            f"{path}: {complaint}, so they were not aligned in 3D; give the particles of a finished 3D refinement"
        )
    return angles


def is_cryosparc(path: Path) -> bool:
    """Whether a file of particles is called a `.cs`, packed or not."""
    return ".cs" in (suffix.lower() for suffix in path.suffixes)


def _not_aligned(angles: NDArray[np.float64]) -> str | None:
    """What shows that particles with these angles (N, 3) were never aligned; None where nothing does."""
    count = len(angles)
    unset = int(np.count_nonzero((angles == _UNSET_DEG).any(axis=1)))
    if unset:
        return f"{_of(unset, count)} have angles of -999, which RELION writes where none were found"
    rot, tilt = np.radians(angles[:, 0]), np.radians(angles[:, 1])
    views = np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=1)
    # A mirrored image is the same view from behind.
    if count > 1 and bool((np.linalg.norm(np.cross(views, views[0]), axis=1) < _ONE_VIEW).all()):
        return f"all {count} particles have one and the same view"
    zero = int(np.count_nonzero((angles == 0.0).all(axis=1)))
    if count > 1 and zero > max(1, _FEW_UNALIGNED * count):
        return f"{_of(zero, count)} have angles of exactly 0, which is where a search begins"
    return None


def _of(some: int, count: int) -> str:
    return f"all {count} particles" if some == count else f"{some} of {count} particles"


def euler_angles(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """RELION's rot, tilt, psi in degrees, (N, 3), of its rotation matrices (N, 3, 3), object to view.

    The third row is (sin tilt cos rot, sin tilt sin rot, cos tilt) in x, y, z. Views along z leave rot and psi to each
    other; rot is 0 then.
    """
    a = matrices
    across = np.hypot(a[:, 2, 0], a[:, 2, 1])
    along = across < _PARALLEL
    tilt = np.arctan2(across, a[:, 2, 2])
    rot = np.where(along, 0.0, np.arctan2(a[:, 2, 1], a[:, 2, 0]))
    upright = np.where(a[:, 2, 2] > 0, np.arctan2(-a[:, 1, 0], a[:, 0, 0]), np.arctan2(a[:, 1, 0], -a[:, 0, 0]))
    psi = np.where(along, upright, np.arctan2(a[:, 1, 2], -a[:, 0, 2]))
    degrees: NDArray[np.float64] = np.degrees(np.stack([rot, tilt, psi], axis=1))
    return degrees


def _content(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}; check its name and permissions") from error
    try:
        if is_compressed(os.pread(descriptor, 8, 0)):
            raw = _unpacked(descriptor, path)
        else:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}; give a file of particles") from error
    finally:
        os.close(descriptor)
    if len(raw) > MAX_BYTES:
        raise InputInvalid(f"{path}: holds more than {MAX_BYTES} bytes; give a file of particles with fewer columns")
    return raw


def _unpacked(descriptor: int, path: Path) -> bytes:
    content, parts, got = Decompressed(descriptor, str(path)), bytearray(), 0
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    while got <= MAX_BYTES and (read := content.read_into(chunk, got)):
        parts += chunk[:read]
        got += read
    return bytes(parts)


def _angles_of_star(raw: bytes, path: Path) -> NDArray[np.float64]:
    if not raw.strip():
        raise InputInvalid(f"{path}: is empty; it was cut off, copy it again")
    stranger = named_for_what_it_is(raw[:4096], str(path), _TABLE)
    if stranger is not None and not _is_star(raw):
        raise InputInvalid(stranger)
    if b"\0" in raw:
        raise InputInvalid(f"{path}: is neither a STAR file nor a .cs; give the particles of the refinement")
    # Names of files may be in any 8-bit encoding, and none is read here.
    found = tables(raw.decode("latin-1"), str(path))
    _refuse_subtomograms(found, path)
    for table in found:
        missing = [name for name in _ANGLES if name not in table.names]
        if len(missing) == len(_ANGLES):
            continue
        if missing:
            raise InputInvalid(f"{path}: column '{missing[0]}' is missing; give the particles of a finished refinement")
        return np.stack([_numbers(table.column(name), name, path) for name in _ANGLES], axis=1)
    names = [name for table in found for name in table.names]
    program = next((program for name, program in _ANGLES_OF_OTHERS.items() if name in names), None)
    if program is not None:
        raise InputInvalid(f"{path}: is a STAR file of {program}, whose angles are not read; export it for RELION")
    if stranger is not None and not found:
        raise InputInvalid(stranger)
    raise InputInvalid(f"{path}: has no table with rlnAngleRot; give the particles of a finished refinement")


def _is_star(raw: bytes) -> bool:
    """Whether a text has a line that begins a block, wherever it is."""
    return raw.startswith(b"data_") or b"\ndata_" in raw


def _refuse_subtomograms(found: list[Table], path: Path) -> None:
    for table in found:
        columns = [name for name in table.names if name.startswith("rlnTomo") or name in _SUBTOMOGRAM]
        why = f"column '{columns[0]}'" if columns and any(name in table.names for name in _ANGLES) else ""
        if not why and "rlnImageDimensionality" in table.names:
            why = "rlnImageDimensionality 3" if "3" in table.column("rlnImageDimensionality") else ""
        if not why and "rlnMicrographName" in table.names:
            tilts = next((name for name in table.column("rlnMicrographName") if name.endswith(".tomostar")), "")
            why = f"micrograph '{tilts}'" if tilts else ""
        if why:
            raise InputInvalid(
                f"{path}: holds subtomograms ({why}); each is seen from many sides, so its angles say nothing of the "
                "sampling"
            )


def _numbers(column: list[str], name: str, path: Path) -> NDArray[np.float64]:
    try:
        return np.array(column).astype(np.float64)
    except ValueError as error:
        raise InputInvalid(f"{path}: column '{name}' holds something that is not a number; mend it") from error


def _angles_of_cs(raw: bytes, path: Path) -> NDArray[np.float64]:
    file = io.BytesIO(raw)
    try:
        major, _ = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, _, dtype = read_header(file, max_header_size=_MAX_HEADER)
    except (ValueError, SyntaxError, TypeError) as error:
        raise InputInvalid(f"{path}: its header is damaged; copy the .cs again") from error
    if dtype.hasobject or dtype.names is None or len(shape) != 1:
        raise InputInvalid(f"{path}: is a numpy file but no table of particles; give the .cs of a refinement")
    if len(raw) - file.tell() != shape[0] * dtype.itemsize:
        raise InputInvalid(
            f"{path}: its header announces {shape[0]} rows, which is not what it holds; it was cut off, copy it again"
        )
    if _POSE not in dtype.names and _POSE_2D in dtype.names:
        raise InputInvalid(
            f"{path}: has angles of a 2D classification only ('{_POSE_2D}'), so its particles were not aligned in 3D; "
            "give the .cs of a refinement"
        )
    if _POSE not in dtype.names:
        raise InputInvalid(
            f"{path}: has no column '{_POSE}'; give the .cs of a refinement (it may be the one named passthrough)"
        )
    pose = np.frombuffer(raw, dtype, offset=file.tell())[_POSE]
    if pose.shape != (shape[0], 3) or pose.dtype.kind != "f":
        raise InputInvalid(f"{path}: column '{_POSE}' is not three numbers a particle; give the .cs of a refinement")
    vectors = pose.astype(np.float64)
    if len(vectors) == 0 or not np.isfinite(vectors).all():
        return vectors
    # CryoSPARC's rotation takes views to the object; RELION's the object to the view.
    return euler_angles(Rotation.from_rotvec(vectors).as_matrix().transpose(0, 2, 1))
