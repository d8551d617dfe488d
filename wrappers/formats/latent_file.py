"""Files of latents: lines of numbers, CSV with a heading, numpy's `.npy` and `.npz`."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

from .array_file import read_array, read_arrays

_MOST_BYTES = 1 << 28
_NAMED = re.compile(r"z_?(\d+)", re.IGNORECASE)

LatentArray = NDArray[np.float32]


def read_latents(path: Path, zdim: int) -> LatentArray:
    """Latents (K, zdim) of a file: `.npy`, `.npz` (its array `z`, or the only one), else text with one a line.

    In text, numbers are parted by commas (as in CSV, with quotes and empty cells), spaces or tabs, and `#` begins a
    comment. A first line of names is a heading: of its columns those called z1, z2 ... are taken, in the order of their
    numbers, or all if none is; other columns may be empty.

    Raises
    ------
    InputInvalid
        If it cannot be read, or holds no finite latents of that many numbers.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        found = _array_of(path)
    else:
        found = _numbers(read_array(path), path) if suffix == ".npy" else _text(path)
    if found.ndim == 1:
        # One latent, or many of one number.
        found = found.reshape(-1, 1) if zdim == 1 else found.reshape(1, -1)
    if found.ndim != 2 or found.shape[0] == 0:
        raise InputInvalid(f"{path}: holds no table of latents (shape {found.shape}); give one latent a line")
    if found.shape[1] != zdim:
        raise InputInvalid(f"{path}: its latents have {found.shape[1]} numbers, those of the run {zdim}; give its own")
    with np.errstate(over="ignore"):
        latents = found.astype(np.float32)
    if not np.isfinite(latents).all():
        line = int(np.flatnonzero(~np.isfinite(latents).all(axis=1))[0])
        raise InputInvalid(
            f"{path}: latent {line + 1} holds a number that is not finite, or not in single precision; correct it"
        )
    return latents


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


def _numbers(array: NDArray[np.generic], path: Path) -> NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise InputInvalid(f"{path}: holds no real numbers; give latents as numbers")
    return array.astype(np.float64)


def _text(path: Path) -> NDArray[np.float64]:
    heading: _Heading | None = None
    found: list[list[float]] = []
    for number, line in enumerate(_raw(path).decode("utf-8-sig", errors="replace").splitlines(), 1):
        where = f"{path}: line {number}"
        words = _words(line, where, is_row=heading is not None)
        if not any(words):
            continue
        if heading is None and not found and (heading := _heading(words)) is not None:
            continue
        cells = words if heading is None else heading.latent(words, where)
        try:
            found.append([float(cell) for cell in cells])
        except ValueError as error:
            raise InputInvalid(f"{where} is no row of numbers like the others; give one latent a line") from error
        if len(found[-1]) != len(found[0]):
            raise InputInvalid(f"{where} has {len(found[-1])} numbers, those before it {len(found[0])}; correct it")
    if not found:
        raise InputInvalid(f"{path}: is empty; give one latent a line")
    return np.array(found, dtype=np.float64)


def _words(line: str, where: str, *, is_row: bool) -> list[str]:
    """What stands in a line.

    Parameters
    ----------
    is_row
        Whether there is a heading: a cell may be a path then, in which `#` begins no comment.
    """
    bare = line.partition("#")[0]
    text = line if is_row and not line.lstrip().startswith("#") else bare
    if "," not in text:
        return bare.split()
    try:
        words = [cell.strip() for cell in next(csv.reader([text], skipinitialspace=True))]
    except csv.Error as error:
        raise InputInvalid(f"{where} is no row of a table ({error}); write it again") from error
    # Some programs end each row with a comma.
    return words[:-1] if not is_row and not words[-1] else words


@dataclass(frozen=True)
class _Heading:
    """Names of columns, and in which of them latents are, in their order."""

    names: Sequence[str]
    columns: Sequence[int]

    def latent(self, words: Sequence[str], where: str) -> list[str]:
        """The cells of a row that are its latent; raises `InputInvalid` where one is empty, or columns are others."""
        count = len(words) - (len(words) == len(self.names) + 1 and not words[-1])
        if count != len(self.names):
            raise InputInvalid(f"{where} has {count} columns, and the heading {len(self.names)}; correct it")
        cells = [words[column].partition("#")[0].strip() for column in self.columns]
        if not all(cells):
            empty = self.names[self.columns[cells.index("")]]
            raise InputInvalid(f"{where} has no number under '{empty}'; give its latent, or leave the line out")
        return cells


def _heading(words: Sequence[str]) -> _Heading | None:
    """What the first line says of columns; None where it is numbers already."""
    try:
        [float(word) for word in words if word]
    except ValueError:
        named = {int(match[1]): place for place, word in enumerate(words) if (match := _NAMED.fullmatch(word))}
        return _Heading(words, [named[key] for key in sorted(named)] or list(range(len(words))))
    return None
