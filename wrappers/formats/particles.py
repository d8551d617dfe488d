"""The views of a particle set: RELION's particle STAR files (3.0 to 5) and CryoSPARC's `.cs`, plain or compressed.

Angles are RELION's (rot, tilt, psi in degrees), whatever the file. Nothing is ever unpickled. Only the columns of the
angles are turned into numbers, so a set of a million particles takes seconds.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from gemmi import cif
from numpy.lib import format as npy
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryobridge.schemas.errors import InputInvalid

from .compressed import Decompressed, is_compressed

MAX_BYTES = 4 << 30
"""What is read of one file, unpacked."""

_CHUNK_BYTES = 1 << 22
_MAX_HEADER = 1 << 20
_NUMPY_MAGIC, _COMPRESSED_CS_MAGIC = b"\x93NUMPY", b"\x95CSDAT"
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_SUBTOMOGRAM = ("rlnTomoName", "rlnTomoSubtomogramRot", "rlnTomoParticleName")
_POSE = "alignments3D/pose"
_PARALLEL = 1e-7


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
        If it cannot be read, is cut off, holds no particle or no angles, or an angle is not a finite number; also for
        subtomograms, each of which is seen from many sides.
    """
    raw = _content(path)
    if raw.startswith(_COMPRESSED_CS_MAGIC):
        raise InputInvalid(f"{path}: is a compressed .cs; export the particles, or save them with numpy, and give that")
    angles = _angles_of_cs(raw, path) if raw.startswith(_NUMPY_MAGIC) else _angles_of_star(raw, path)
    if len(angles) == 0:
        raise InputInvalid(f"{path}: holds no particles; give the particles of the refinement")
    if not np.isfinite(angles).all():
        row = int(np.flatnonzero(~np.isfinite(angles).all(axis=1))[0])
        raise InputInvalid(f"{path}: the angles of particle {row + 1} of {len(angles)} are not finite numbers; mend it")
    return angles


def is_cryosparc(path: Path) -> bool:
    """Whether a file of particles is called a `.cs`, packed or not."""
    return ".cs" in (suffix.lower() for suffix in path.suffixes)


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
    if b"\0" in raw:
        raise InputInvalid(f"{path}: is neither a STAR file nor a .cs; give the particles of the refinement")
    if not raw.endswith(b"\n"):
        raise InputInvalid(f"{path}: does not end with a whole line; it was cut off, copy it again")
    try:
        # gemmi takes ASCII only; names of files may hold anything, and none is read here.
        document = cif.read_string(raw.decode("latin-1").encode("ascii", "replace").decode("ascii"))
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputInvalid(f"{path}: is not a whole STAR file ({reason}); it was cut off or edited wrongly") from error
    for block in document:
        columns = [list(block.find_loop(f"_{name}")) for name in _ANGLES]
        if not any(columns):
            continue
        missing = [name for name, column in zip(_ANGLES, columns, strict=True) if not column]
        if missing:
            raise InputInvalid(f"{path}: column '{missing[0]}' is missing; give the particles of a finished refinement")
        if any(len(block.find_loop(f"_{name}")) for name in _SUBTOMOGRAM):
            raise InputInvalid(
                f"{path}: holds subtomograms; each is seen from many sides, so its angles say nothing of the sampling"
            )
        return np.stack([_numbers(column, name, path) for name, column in zip(_ANGLES, columns, strict=True)], axis=1)
    raise InputInvalid(f"{path}: has no table with rlnAngleRot; give the particles of a finished refinement")


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
