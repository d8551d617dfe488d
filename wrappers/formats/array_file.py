"""Numpy's `.npz`: arrays by name, no pickles."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

Arrays = dict[str, NDArray[np.generic]]


def read_arrays(path: Path) -> Arrays:
    """Every array of a `.npz` by name.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no `.npz`, or holds objects.
    """
    try:
        with open(open_plain(path), "rb") as file, np.load(file, allow_pickle=False) as found:
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise InputInvalid(f"{path}: is one numpy array, not a .npz of several; give the .npz")
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror or error}; check the file") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputInvalid(f"{path}: is no .npz of plain arrays, or damaged; write it again") from error


def arrays_bytes(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """A `.npz` of arrays by name."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()
