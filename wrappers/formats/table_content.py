"""The bytes and lines of a file of particles, plain or packed, in order and within what such a file can be.

A file is never held whole. What unpacks to far more than the table of any particles is given up long before its end.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from .compressed import Decompressed, is_compressed

MAX_BYTES = 16 << 30
"""What is read of one file, unpacked: ten million particles in 1600 bytes each."""
MAX_LINES = 12_000_000
"""Of a STAR file; the largest sets of particles have a few million."""
MAX_LINE_BYTES = 1 << 16
HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_UNTOLD_BYTES = 16 << 20
_MOST_UNPACKED = 200
"""Particles differ in 20 bytes each at least, so their tables pack to a tenth; a bomb to a thousandth and less."""


class TableContent:
    """The content of one file, read once from its start.

    Attributes
    ----------
    name
        What to call it in messages.
    head
        Its first bytes, `HEAD_BYTES` of them if it has so many; reading begins with them all the same.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._packed = Decompressed(descriptor, name) if is_compressed(os.pread(descriptor, 8, 0)) else None
        self._position = 0
        self._ahead = b""
        self.head = self.read(HEAD_BYTES)
        self._ahead = self.head

    def read(self, size: int) -> bytes:
        """The next bytes, fewer than `size` only at the end of the file.

        Raises
        ------
        InputInvalid
            If it cannot be read, is damaged, or holds more than a file of particles.
        """
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        more = bytearray(size - len(ahead))
        got = self._read_into(memoryview(more))
        self._position += got
        if self._position > MAX_BYTES:
            raise InputInvalid(
                f"{self.name}: holds more than {MAX_BYTES} bytes; give a file of particles with fewer columns"
            )
        del more[got:]
        return ahead + more

    def lines(self, *, with_ends: bool = False) -> Iterator[bytes]:
        """Every line that is left, with or without its end; a last one needs none.

        Raises
        ------
        InputInvalid
            As `read`; also for what is no text, and for more or longer lines than a file of particles has.
        """
        rest, count = b"", 0
        while chunk := self.read(_CHUNK_BYTES):
            if b"\0" in chunk:
                raise InputInvalid(
                    f"{self.name}: is neither a STAR file nor a .cs; give the particles of the refinement"
                )
            data = rest + chunk
            # The last byte is left: a carriage return there may be the first half of an end.
            cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
            whole, rest = data[:cut].splitlines(with_ends), data[cut:]
            count += len(whole)
            if count > MAX_LINES:
                raise InputInvalid(f"{self.name}: has more than {MAX_LINES} lines; no set of particles is so large")
            if len(rest) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in whole):
                raise InputInvalid(
                    f"{self.name}: has a line of more than {MAX_LINE_BYTES} bytes, so it is no STAR file of particles, "
                    "or damaged"
                )
            yield from whole
        yield from rest.splitlines(with_ends)

    def _read_into(self, view: memoryview) -> int:
        if self._packed is not None:
            got = self._packed.read_into(view, self._position)
            unpacked = self._position + got
            if unpacked > max(_UNTOLD_BYTES, _MOST_UNPACKED * self._packed.consumed):
                raise InputInvalid(
                    f"{self.name}: unpacks to more than {_MOST_UNPACKED} times its size, which no table of particles "
                    "does; it is damaged, or made to fill the memory"
                )
            return got
        got = 0
        while got < len(view) and (more := os.preadv(self._descriptor, [view[got:]], self._position + got)):
            got += more
        return got


@contextlib.contextmanager
def opened_table(path: Path) -> Iterator[TableContent]:
    """Open a file of particles, and close it again.

    Raises
    ------
    InputInvalid
        If it cannot be opened or read, or is no regular file: nothing is waited for.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}; check its name and permissions") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputInvalid(f"{path}: cannot be read: it is no file; give a file of particles")
        yield TableContent(descriptor, str(path))
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}; give a file of particles") from error
    finally:
        os.close(descriptor)
