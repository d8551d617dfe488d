"""IMOD's models (`.mod`): the points that were clicked in 3dmod, without IMOD.

A model is big-endian: the word `IMODV1.2` in a header of 240 bytes, then chunks, each of which begins with four
letters.
An object (`OBJT`) is 176 bytes; a contour (`CONT`) says how many points it has, flags, time and surface, then x, y, z
of each point as float32; a mesh (`MESH`) counts its vertices and indices; every other chunk says its length after its
letters, and `IEOF` is the end. Written down from IMOD's own description of the format.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

MAGIC = b"IMOD"
MAX_MODEL_BYTES = 256 << 20
_VERSIONS = (b"V1.2", b"V1.1")
_HEADER_BYTES, _OBJECT_BYTES = 240, 176
_POINT_BYTES = 12
_CONTOUR, _MESH = struct.Struct(">iIii"), struct.Struct(">iiIhh")
_FARTHEST = 1e6


def read_imod_model(path: Path) -> NDArray[np.float64]:
    """Read the points of every contour of every object, in the order of the model.

    Returns
    -------
    (n, 3) x, y, z in voxels of the volume that the model was drawn on; of a click in the first section z is 0.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no model of IMOD, or ends before its end.
    """
    try:
        raw = read_plain(path, MAX_MODEL_BYTES)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}; check its name and permissions") from error
    return parse_imod_model(raw, str(path))


def parse_imod_model(raw: bytes, name: str) -> NDArray[np.float64]:
    """Read a model; `name` is for messages. See `read_imod_model`."""
    if raw[:4] != MAGIC or raw[4:8] not in _VERSIONS:
        raise InputInvalid(f"{name}: is no model of IMOD (IMODV1.2); save it from 3dmod as a binary model")
    contours: list[NDArray[np.float64]] = []
    at = _HEADER_BYTES
    while raw[at : at + 4] != b"IEOF":
        chunk = raw[at : at + 4]
        at += 4
        if chunk == b"OBJT":
            at += _OBJECT_BYTES
        elif chunk == b"CONT":
            points, at = _contour(raw, at, name)
            contours.append(points)
        elif chunk == b"MESH":
            at = _after_mesh(raw, at, name)
        else:
            at = _after_length(raw, at, name)
        if at > len(raw):
            raise _cut_off(name)
    whole = np.concatenate(contours) if contours else np.empty((0, 3))
    if not np.isfinite(whole).all() or (np.abs(whole) > _FARTHEST).any():
        raise InputInvalid(f"{name}: has points that are no places in a tomogram; it is damaged, save it again")
    return whole


def _contour(raw: bytes, at: int, name: str) -> tuple[NDArray[np.float64], int]:
    """The points of a contour, and where it ends."""
    if at + _CONTOUR.size > len(raw):
        raise _cut_off(name)
    count, _flags, _time, _surface = _CONTOUR.unpack_from(raw, at)
    at += _CONTOUR.size
    end = at + _POINT_BYTES * count
    if count < 0 or end > len(raw):
        raise _cut_off(name)
    return np.frombuffer(raw, ">f4", 3 * count, at).reshape(count, 3).astype(np.float64), end


def _after_mesh(raw: bytes, at: int, name: str) -> int:
    """Where a mesh ends: three float32 a vertex, and an int32 an index."""
    if at + _MESH.size > len(raw):
        raise _cut_off(name)
    vertices, indices, *_ = _MESH.unpack_from(raw, at)
    if vertices < 0 or indices < 0:
        raise _cut_off(name)
    return at + _MESH.size + _POINT_BYTES * int(vertices) + 4 * int(indices)


def _after_length(raw: bytes, at: int, name: str) -> int:
    """Where a chunk ends that says its length."""
    if at + 4 > len(raw):
        raise _cut_off(name)
    (length,) = struct.unpack_from(">i", raw, at)
    if length < 0:
        raise _cut_off(name)
    return at + 4 + int(length)


def _cut_off(name: str) -> InputInvalid:
    return InputInvalid(f"{name}: ends before its model does; it was cut off or damaged, save it again")
