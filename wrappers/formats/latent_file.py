"""Files of latents: lines of numbers, CSV with a heading, numpy's `.npy` and `.npz`."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

from .array_file import read_arrays

_MOST_BYTES = 1 << 28
_NAMED = re.compile(r"z_?(\d+)", re.IGNORECASE)

LatentArray = NDArray[np.float32]


def read_latents(path: Path, zdim: int) -> LatentArray:
    """Latents (K, zdim) of a file: `.npy`, `.npz` (its array `z`, or the only one), else text with one a line.

    In text, numbers are parted by spaces, tabs or commas, and `#` begins a comment. A first line of names is a
    heading: of its columns those called z1, z2 ... are taken, in the order of their numbers, or all if none is.

    Raises
    ------
    InputInvalid
        If it cannot be read, or holds no finite latents of that many numbers.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        found = _array_of(path)
    else:
        raw = _raw(path)
        found = _npy(raw, path) if suffix == ".npy" else _text(raw, path)
    if found.ndim == 1:
        # One latent, or many of one number.
        found = found.reshape(-1, 1) if zdim == 1 else found.reshape(1, -1)
    if found.ndim != 2 or found.shape[0] == 0:
        raise InputInvalid(f"{path}: holds no table of latents (shape {found.shape}); give one latent a line")
    if found.shape[1] != zdim:
        raise InputInvalid(f"{path}: its latents have {found.shape[1]} numbers, those of the run {zdim}; give its own")
    if not np.isfinite(found).all():
        line = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise InputInvalid(f"{path}: latent {line + 1} holds a number that is not finite; correct it")
    return found.astype(np.float32)


def _raw(path: Path) -> bytes:
    try:
        return read_plain(path, _MOST_BYTES)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror or error}; check the file") from error


def _array_of(path: Path) -> NDArray[np.float64]:
    arrays = read_arrays(path)
    if "z" not in arrays and len(arrays) != 1:
        raise InputInvalid(f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}, no array 'z'; name the latents so")
    return _numbers(arrays["z"] if "z" in arrays else next(iter(arrays.values())), path)


def _npy(raw: bytes, path: Path) -> NDArray[np.float64]:
    try:
        return _numbers(np.load(io.BytesIO(raw), allow_pickle=False), path)
    except (ValueError, EOFError, OSError) as error:
        raise InputInvalid(f"{path}: is no .npy of plain numbers, or damaged; write it again") from error


def _numbers(array: object, path: Path) -> NDArray[np.float64]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise InputInvalid(f"{path}: holds no real numbers; give latents as numbers")
    return array.astype(np.float64)


def _text(raw: bytes, path: Path) -> NDArray[np.float64]:
    lines = raw.decode("utf-8", errors="replace").splitlines()
    rows = [(number, line.partition("#")[0].replace(",", " ").split()) for number, line in enumerate(lines, 1)]
    rows = [(number, words) for number, words in rows if words]
    if not rows:
        raise InputInvalid(f"{path}: is empty; give one latent a line")
    columns = _columns(rows[0][1])
    found = []
    for number, words in rows if columns is None else rows[1:]:
        try:
            found.append([float(words[column]) for column in (range(len(words)) if columns is None else columns)])
        except (ValueError, IndexError) as error:
            raise InputInvalid(
                f"{path}: line {number} is no row of numbers like the others; give one latent a line"
            ) from error
        if len(found[-1]) != len(found[0]):
            raise InputInvalid(
                f"{path}: line {number} has {len(found[-1])} numbers, those before it {len(found[0])}; correct it"
            )
    return np.array(found, dtype=np.float64)


def _columns(words: list[str]) -> list[int] | None:
    """Which columns are latents, where the first line is a heading; None where it is numbers already."""
    try:
        [float(word) for word in words]
    except ValueError:
        named = {int(match[1]): place for place, word in enumerate(words) if (match := _NAMED.fullmatch(word))}
        return [named[key] for key in sorted(named)] or list(range(len(words)))
    return None
