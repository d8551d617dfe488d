"""Tables as CryoSPARC 4 sends and takes them: its compressed stream, unpacked by the client within bounds.

Not tried on a real instance; agrees with the client's source 4.7.1, which unpickles nothing here.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

from ...formats.cs_table import MAX_ROWS, Columns, read_table
from ...formats.whole_file import whole_file

MAX_BYTES = 16 << 30
_STREAM = b"\x95CSDAT"
_MAX_HEADER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20


def copied(source: IO[bytes], target: Path, most: int | None = None) -> None:
    """Copy an answer into a file, whole or not at all; raises `InputInvalid` where it is longer than `most` bytes."""
    with whole_file(target) as descriptor, open(descriptor, "wb", closefd=False) as file:
        length = 0
        while chunk := source.read(_CHUNK_BYTES):
            length += len(chunk)
            if most is not None and length > most:
                raise InputInvalid(f"{target.name}: holds more than {most} bytes, more than any table of particles")
            file.write(chunk)


def table_of(path: Path, name: str) -> Columns:
    """Read a table that was fetched, whether it is a numpy file or the client's compressed stream.

    Raises
    ------
    InputInvalid
        If it is neither, or damaged.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        head = file.read(len(_STREAM) + 4)
        if not head.startswith(_STREAM):
            return read_table(path)
        header = file.read(min(_MAX_HEADER_BYTES, int.from_bytes(head[len(_STREAM) :], "little")))
    damaged = importlib.import_module("cryosparc.errors").DatasetLoadError
    try:
        rows = json.loads(header)["length"]
        if not isinstance(rows, int) or not 0 <= rows <= MAX_ROWS:
            raise ValueError(f"{rows} rows")
        dataset = _dataset().load(path)
    except (ValueError, KeyError, TypeError, damaged) as error:
        raise InputInvalid(f"{name}: what the server sent is no table, or damaged ({error})") from error
    return {column: np.asarray(dataset[column]) for column in dataset.fields()}


def stream_of(columns: Columns) -> Iterator[bytes]:
    """A table as it is sent."""
    given = {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in columns.items()}
    chunks: Iterator[bytes] = _dataset()(given).stream(compression="lz4")
    return chunks


def _dataset() -> Any:
    return importlib.import_module("cryosparc.dataset").Dataset
