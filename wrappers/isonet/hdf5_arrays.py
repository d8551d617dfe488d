"""Arrays and texts of an HDF5 file from anybody, looked over before any of them is read.

Only what lies in the file itself is taken: no links to other files, nothing stored beside it, and no more than fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.bounds import MAX_NETWORK_BYTES
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_OBJECTS = 20_000
_MOST_TEXT_BYTES = 4 << 20


@dataclass(frozen=True)
class Hdf5Content:
    """What a file holds: arrays of numbers (float32) by their full name, and texts by the attribute of its root."""

    arrays: Mapping[str, NDArray[np.float32]]
    texts: Mapping[str, str]


def read_hdf5(path: Path) -> Hdf5Content:
    """Read every array of an HDF5 file.

    Raises
    ------
    InputInvalid
        If it cannot be opened, is none or is damaged, or holds more than the networks of a file may have.
    """
    try:
        file = open(open_plain(path), "rb")  # noqa: SIM115 - closed below, after HDF5 has done with it
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    with file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise InputInvalid(f"{path}: is no HDF5 file; give a model that IsoNet wrote (.h5)")
        file.seek(0)
        try:
            with h5py.File(file, "r") as opened:
                return Hdf5Content(_arrays(opened), _texts(opened))
        # The library tells of damage with whatever it stumbled over.
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError, MemoryError) as error:
            why = str(error) if isinstance(error, _RefusedPartError) else "it was cut off or is damaged"
            raise InputInvalid(f"{path}: cannot be read as an HDF5 file: {why}") from error


class _RefusedPartError(ValueError):
    """What is not read, in words."""


def _arrays(opened: h5py.File) -> dict[str, NDArray[np.float32]]:
    found: dict[str, h5py.Dataset] = {}
    seen = 0

    def look(name: str | bytes, item: object) -> None:
        if isinstance(name, bytes):
            # h5py gives names that are no UTF-8 as they are.
            raise _RefusedPartError("a name in it is no text")
        nonlocal seen
        seen += 1
        if seen > _MOST_OBJECTS:
            raise _RefusedPartError(f"it holds more than {_MOST_OBJECTS} things")
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found[name] = item

    # Goes through what lies in the file; links to other files are passed over.
    opened.visititems(look)
    size = sum(4 * item.size for item in found.values())
    if size > MAX_NETWORK_BYTES:
        raise _RefusedPartError(f"it announces {size} bytes; no network of more than {MAX_NETWORK_BYTES} is read")
    beside = [name for name, item in found.items() if item.external or item.is_virtual]
    if beside:
        raise _RefusedPartError(f"'{beside[0][:60]}' lies in another file")
    return {name: np.asarray(item[()], np.float32) for name, item in found.items()}


def _texts(opened: h5py.File) -> dict[str, str]:
    texts = {}
    for name in opened.attrs:
        # Before it is read: an attribute says how large it is, but for texts of any length, which lie in the file.
        if opened.attrs.get_id(name).get_storage_size() > _MOST_TEXT_BYTES:
            raise _RefusedPartError(f"'{name[:60]}' is larger than {_MOST_TEXT_BYTES} bytes")
        value = opened.attrs[name]
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, str):
            texts[name] = value
    return texts
