"""STAR tables: bounded reading with checked row counts, and writing of small tables.

Read with gemmi and not with starfile: starfile goes through the process-wide `linecache`, so that in a long-running
process a file once seen half-written fails for ever, and it silently accepts truncated tables. gemmi rejects ragged
tables, but neither can see a table cut between two rows: `Block.expect_rows` is for that.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from gemmi import cif
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

from .whole_file import whole_file, write_all

Source = int | str | os.PathLike[str]

MAX_BYTES = 256 << 20
"""Default limit: a particle table of a million rows is about this size."""

_EVERYDAY = re.compile(r"[-+0-9][-+0-9A-Za-z_.@/]*")
"""Numbers and names of images, which are nearly all cells of a large table and need no closer look."""


@dataclass(frozen=True)
class Block:
    """One `data_` block: single items, and the columns of its table. Names come without the leading underscore."""

    source: str
    name: str
    items: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows of the table; 0 without one."""
        return len(next(iter(self.columns.values()), ()))

    def expect_rows(self, expected: int) -> None:
        """Raise `InputInvalid` unless the table has so many rows."""
        if self.n_rows != expected:
            raise InputInvalid(
                f"{self.source}: table '{self.name}' has {self.n_rows} rows, {expected} were expected; "
                "it was cut off or belongs to something else"
            )

    def text(self, key: str) -> str:
        """A single item; raises `InputInvalid` when it is missing."""
        value = self.items.get(key)
        if value is None:
            raise InputInvalid(f"{self.source}: '{key}' is missing from '{self.name}'")
        return value

    def number(self, key: str) -> float:
        """A single item as a finite number; raises `InputInvalid` otherwise."""
        return self._number(key, self.text(key))

    def integer(self, key: str) -> int:
        """A single item as a whole number; raises `InputInvalid` otherwise."""
        value = self.number(key)
        if value != int(value):
            raise InputInvalid(f"{self.source}: '{key}' is {self.text(key)}, not a whole number")
        return int(value)

    def optional_number(self, key: str) -> float | None:
        """A single item as a finite number, or None when it is missing."""
        return self.number(key) if key in self.items else None

    def column(self, key: str) -> Sequence[str]:
        """A column of the table as text; raises `InputInvalid` when it is missing."""
        values = self.columns.get(key)
        if values is None:
            raise InputInvalid(f"{self.source}: column '{key}' is missing from table '{self.name}'")
        return values

    def numbers(self, key: str) -> NDArray[np.float64]:
        """A column of the table, (rows,); raises `InputInvalid` when it is missing or not finite numbers."""
        texts = self.column(key)
        return np.fromiter((self._number(key, text) for text in texts), np.float64, len(texts))

    def _number(self, key: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputInvalid(f"{self.source}: '{key}' in '{self.name}' is '{text[:40]}', not a number")
        return value


@dataclass(frozen=True)
class StarFile:
    """The blocks of one file, by name and in their order."""

    source: str
    blocks: Mapping[str, Block]
    whole_lines: bool
    """Whether the text ends with a line's end, as RELION's always does: a last number cut short is else unseen."""

    def block(self, name: str) -> Block:
        """One block; raises `InputInvalid` when it is missing."""
        found = self.blocks.get(name)
        if found is None:
            there = ", ".join(f"'{block}'" for block in list(self.blocks)[:8]) or "nothing"
            raise InputInvalid(f"{self.source}: block '{name}' is missing (it holds {there})")
        return found


def read(source: Source, *, name: str | None = None, max_bytes: int = MAX_BYTES) -> StarFile:
    """Read a STAR file from a path or from the start of an open descriptor, whose position is not changed.

    Raises
    ------
    InputInvalid
        If it cannot be opened, is larger than `max_bytes`, or is not STAR text.
    """
    called = name or (f"descriptor {source}" if isinstance(source, int) else os.fspath(source))
    return parse(_read_bytes(source, called, max_bytes), called)


def parse(raw: bytes, name: str) -> StarFile:
    """Read STAR text; `name` is for messages. Raises `InputInvalid` when it is not STAR."""
    if b"\0" in raw:
        raise InputInvalid(f"{name}: holds zero bytes; it is no STAR file, or was damaged when a disk was full")
    try:
        # Paths in old files may be in any 8-bit encoding; Latin-1 keeps their bytes apart and cannot fail.
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    # gemmi takes ASCII only, users name their folders as they like: escape the rest, reversibly.
    escaped = not text.isascii()
    if escaped:
        text = text.replace("\\", "\\\\").encode("ascii", "backslashreplace").decode("ascii")
    try:
        document = cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputInvalid(f"{name}: is not a whole STAR file ({reason}); it was cut off or edited wrongly") from error
    blocks = {block.name: _block(block, name, escaped) for block in document}
    return StarFile(name, blocks, whole_lines=raw.endswith(b"\n"))


def format_blocks(blocks: Mapping[str, Mapping[str, object]]) -> str:
    """Write blocks as STAR text: a mapping to sequences is a table, any other a list of single items.

    Raises
    ------
    ValueError
        If the columns of a table differ in length, or a value cannot be written on one line.
    """
    parts = []
    for name, content in blocks.items():
        lines = [f"data_{name}", ""]
        columns = _columns(content)
        if columns:
            lines.append("loop_")
            lines += [f"_{key} #{index}" for index, key in enumerate(columns, 1)]
            lines += [" ".join(_value(cell) for cell in row) for row in zip(*columns.values(), strict=True)]
        else:
            width = max((len(key) for key in content), default=0) + 2
            lines += [f"_{key.ljust(width)} {_value(value)}" for key, value in content.items()]
        parts.append("\n".join(lines) + "\n\n")
    return "\n" + "\n".join(parts)


def write_atomically(path: str | os.PathLike[str], blocks: Mapping[str, Mapping[str, object]]) -> None:
    """Write blocks under `path`, whole or not at all; see `format_blocks`. Raises `OSError` on a full disk."""
    with whole_file(path) as descriptor:
        write_all(descriptor, format_blocks(blocks).encode(), 0)


def _read_bytes(source: Source, name: str, max_bytes: int) -> bytes:
    try:
        with contextlib.ExitStack() as stack:
            if isinstance(source, int):
                descriptor = source
            else:
                descriptor = open_plain(Path(source))
                stack.callback(os.close, descriptor)
            size = os.fstat(descriptor).st_size
            if size > max_bytes:
                raise InputInvalid(f"{name}: is {size} bytes; more than {max_bytes} are not read as this STAR file")
            parts = []
            got = 0
            while chunk := os.pread(descriptor, min(1 << 20, max_bytes + 1 - got), got):
                parts.append(chunk)
                got += len(chunk)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputInvalid(f"{name}: cannot be read ({reason}); check the name and its permissions") from error
    if got > max_bytes:
        raise InputInvalid(f"{name}: grew past {max_bytes} bytes while it was read")
    return b"".join(parts)


def _block(block: cif.Block, source: str, escaped: bool) -> Block:
    def plain(value: str) -> str:
        text = cif.as_string(value)
        return text.encode("ascii").decode("unicode_escape") if escaped else text

    items: dict[str, str] = {}
    columns: dict[str, list[str]] = {}
    for item in block:
        pair = cast("tuple[str, str] | None", item.pair)
        if pair is not None:
            tag, value = pair
            items[tag.removeprefix("_")] = plain(value)
        elif item.loop is not None:
            width = len(item.loop.tags)
            values = [plain(value) for value in item.loop.values]
            for index, tag in enumerate(item.loop.tags):
                columns[tag.removeprefix("_")] = values[index::width]
    if len({len(values) for values in columns.values()}) > 1:
        raise InputInvalid(f"{source}: '{block.name}' holds tables of different lengths; it should hold one")
    return Block(source, block.name, items, columns)


def _columns(content: Mapping[str, object]) -> dict[str, list[object]]:
    """The content as columns, or nothing if any of it is a single item."""
    columns: dict[str, list[object]] = {}
    for key, value in content.items():
        if isinstance(value, np.ndarray):
            columns[key] = value.tolist()
        elif isinstance(value, str) or not isinstance(value, Sequence):
            return {}
        else:
            columns[key] = list(value)
    return columns


def _value(value: object) -> str:
    """One cell as STAR text, quoted where it has to be."""
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    if _EVERYDAY.fullmatch(text):
        return text
    if "\n" in text or ("'" in text and '"' in text):
        raise ValueError(f"{text!r} cannot be written on one line of a STAR file")
    plain = text and not any(mark in text for mark in " \t\"'#;") and text[0] not in "_$[]?."
    if plain and not text.lower().startswith(("data_", "loop_", "save_", "stop_", "global_")):
        return text
    if text and text[0] == "." and text[1:2].isdigit():
        return text
    return f'"{text}"' if '"' not in text else f"'{text}'"
