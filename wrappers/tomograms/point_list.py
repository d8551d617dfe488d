"""Points in a tomogram, from whatever they were drawn in: IMOD, napari, a text file, JSON.

All are x, y, z in voxels of the tomogram, counted from 0; napari's tables are the one kind that has z first.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

from .imod_model import MAGIC, MAX_MODEL_BYTES, parse_imod_model

_MAX_TEXT_BYTES = 64 << 20
_FARTHEST = 1e6
_NAPARI = ("axis-0", "axis-1", "axis-2")
_NAMED = (("x", "y", "z"), ("X", "Y", "Z"), ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"))


def read_points(path: Path) -> NDArray[np.float64]:
    """Read points in their order, by what the file holds.

    - a model of IMOD (`.mod`): the points of all contours of all objects;
    - text: x, y, z in each line, parted by blanks or commas; `#` begins a comment; of `model2point` with more columns
      the last three are taken;
    - CSV of napari: columns `axis-0`, `axis-1`, `axis-2` are z, y, x; of others `x`, `y`, `z`;
    - JSON: a list of `[x, y, z]`, or of objects with `x`, `y`, `z`.

    Returns
    -------
    (n, 3) x, y, z; n may be 0.

    Raises
    ------
    InputInvalid
        If it cannot be read, or something in it is no point.
    """
    try:
        raw = read_plain(path, MAX_MODEL_BYTES)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}; check its name and permissions") from error
    if raw.startswith(MAGIC):
        return parse_imod_model(raw, str(path))
    if len(raw) > _MAX_TEXT_BYTES:
        raise InputInvalid(f"{path}: is {len(raw)} bytes; a list of points is no longer than {_MAX_TEXT_BYTES}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputInvalid(
            f"{path}: is neither a model of IMOD nor text (byte {error.start}); give a .mod, .txt, .csv or .json"
        ) from error
    return parse_points(text, str(path))


def parse_points(text: str, name: str) -> NDArray[np.float64]:
    """Read points from text; `name` is for messages. See `read_points`."""
    start = text.lstrip()[:1]
    if start in ("[", "{"):
        return _of_json(text, name)
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and all(word[:1].isalpha() for word in _words(lines[0].partition("#")[0])):
        return _of_table(lines, name)
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line.partition("#")[0])
        if words and len(words) < 3:
            raise InputInvalid(f"{name}: line {number} has {len(words)} numbers; a point is x, y, z")
        if words:
            rows.append(_point(words[-3:], name, f"line {number}"))
    return _array(rows)


def _of_json(text: str, name: str) -> NDArray[np.float64]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"{name}: is no whole JSON ({str(error)[:80]}); it was cut off or edited wrongly") from error
    if isinstance(content, dict):
        content = content.get("points")
    if not isinstance(content, list):
        raise InputInvalid(f"{name}: is no list of points; write [[x, y, z], ...], or it under 'points'")
    rows = []
    for number, entry in enumerate(content, 1):
        values = [entry.get(key) for key in _NAMED[0]] if isinstance(entry, dict) else entry
        if not isinstance(values, list) or len(values) != 3:
            raise InputInvalid(f"{name}: entry {number} is no point; write [x, y, z] or an object with x, y and z")
        rows.append(_point(values, name, f"entry {number}"))
    return _array(rows)


def _of_table(lines: Sequence[str], name: str) -> NDArray[np.float64]:
    """A table whose first line names its columns."""
    separator = "," if "," in lines[0] else None
    split = csv.reader(lines) if separator else (line.split() for line in lines)
    try:
        head, *body = [[word.strip() for word in row] for row in split]
    except csv.Error as error:
        raise InputInvalid(f"{name}: is no whole table ({error}); save it again") from error
    napari = all(label in head for label in _NAPARI)
    wanted = tuple(reversed(_NAPARI)) if napari else next((names for names in _NAMED if set(names) <= set(head)), None)
    if wanted is None:
        raise InputInvalid(f"{name}: has no columns x, y, z, nor axis-0, axis-1, axis-2 as napari's; name them so")
    places = [head.index(label) for label in wanted]
    rows = []
    for number, row in enumerate(body, 1):
        if len(row) <= max(places):
            raise InputInvalid(f"{name}: row {number} has {len(row)} values for {len(head)} columns; it was cut off")
        rows.append(_point([row[at] for at in places], name, f"row {number}"))
    return _array(rows)


def _words(line: str) -> list[str]:
    return line.replace(",", " ").replace(";", " ").split()


def _point(values: Iterable[object], name: str, where: str) -> list[float]:
    point = []
    for value in values:
        try:
            number = float(value) if isinstance(value, int | float | str) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not abs(number) <= _FARTHEST:
            raise InputInvalid(
                f"{name}: '{str(value)[:40]}' ({where}) is no place in a tomogram; give x, y, z in voxels"
            )
        point.append(number)
    return point


def _array(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(len(rows), 3)
