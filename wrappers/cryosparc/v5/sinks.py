"""Where files go that a server sends: into a file, or only their beginning into memory."""

from __future__ import annotations

import os

from ...formats.whole_file import write_all


class IntoFile:
    """Writes into an open file; what cannot be written (no room, ...) comes out as `OSError`.

    Parameters
    ----------
    descriptor
        Open for writing; the caller closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = 0

    def begin(self) -> None:
        """Begin with an empty file."""
        os.ftruncate(self._descriptor, 0)
        self._size = 0

    def take(self, chunk: bytes) -> bool:
        """Add bytes."""
        write_all(self._descriptor, chunk, self._size)
        self._size += len(chunk)
        return True


class Beginning:
    """Keeps at most so many bytes.

    Attributes
    ----------
    content
        What came.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.content = bytearray()

    def begin(self) -> None:
        """Forget what came before."""
        self.content.clear()

    def take(self, chunk: bytes) -> bool:
        """Keep bytes as far as the limit goes."""
        self.content += chunk[: self._limit - len(self.content)]
        return len(self.content) < self._limit
