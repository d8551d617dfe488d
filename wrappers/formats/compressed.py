"""The content of gzip and bzip2 files, read in order and never further than asked for.

EMDB hands out its maps as `.map.gz`. The archive says nothing reliable about how much it holds, so nothing is
unpacked for its own sake: the reader of the format asks for the bytes it has a use for, and then for the end.
Nothing is written anywhere.
"""

from __future__ import annotations

import bz2
import gzip
import os
import zlib

from cryobridge.schemas.errors import InputInvalid

MAGIC_BYTES = 3
_GZIP, _BZIP2 = b"\x1f\x8b\x08", b"BZh"
_SKIP_BYTES = 1 << 20
_MOST_GZIP_GIVES = 1032
"""Deflate codes at best 258 bytes in 2 bits: what is announced beyond that cannot be there."""
_FREE_BYTES = 1 << 30
"""A mask in a box of 645 voxels, however well it packs."""


def is_compressed(head: bytes) -> bool:
    """Whether a file that begins so is gzip or bzip2.

    No map begins so: either would have an axis of more than 400 000 voxels.
    """
    return head[:MAGIC_BYTES] in (_GZIP, _BZIP2)


class Decompressed:
    """What a gzip or bzip2 file holds, from its start to its end.

    Parameters
    ----------
    descriptor
        Open for reading at the start of the file; it is not closed here.
    name
        What to call the file in messages.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._name = name
        self._descriptor = descriptor
        self._kind = "gzip" if os.pread(descriptor, MAGIC_BYTES, 0) == _GZIP else "bzip2"
        self._packed_bytes = os.fstat(descriptor).st_size
        file = os.fdopen(descriptor, "rb", closefd=False)
        self._content = gzip.GzipFile(fileobj=file) if self._kind == "gzip" else bz2.BZ2File(file)
        self._position = 0

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` with the content from `offset` on, which is never before what was read; return the bytes got.

        Raises
        ------
        InputInvalid
            If the archive is damaged, or ends within what is asked for without its proper end.
        """
        if offset < self._position:
            raise ValueError(f"{self._name}: byte {offset} was already passed; content is read in order")
        while self._position < offset:
            skipped = len(self._next(min(_SKIP_BYTES, offset - self._position)))
            if skipped == 0:
                return 0
        got = 0
        while got < len(view):
            part = self._next(min(_SKIP_BYTES, len(view) - got))
            if not part:
                break
            view[got : got + len(part)] = part
            got += len(part)
        return got

    @property
    def consumed(self) -> int:
        """Bytes of the packed file that were read so far; what lies after them says nothing of what they hold."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def may_hold(self, announced: int) -> bool:
        """Whether a file of this size can hold so many bytes, as far as its kind sets a limit."""
        return self._kind != "gzip" or announced <= _MOST_GZIP_GIVES * self._packed_bytes

    def is_believed(self, announced: int) -> bool:
        """Whether a file of this size is believed to hold so many bytes before memory is taken for them.

        bzip2 sets no limit, and masks of two values pack a thousandfold: what is not believed is large, and packed more
        than gzip ever could.
        """
        return announced <= max(_FREE_BYTES, _MOST_GZIP_GIVES * self._packed_bytes)

    def expect_end(self, announced: int) -> None:
        """Read on to byte `announced`, and see that the content ends there and its checksum is right.

        Raises
        ------
        InputInvalid
            If the archive is damaged, or holds less or more.
        """
        while self._position < announced:
            if not self._next(min(_SKIP_BYTES, announced - self._position)):
                raise InputInvalid(
                    f"{self._name}: unpacks to {self._position} bytes, its header announces {announced}; "
                    "it was cut off, fetch or make it again"
                )
        if self._next(1):
            raise InputInvalid(
                f"{self._name}: unpacks to more than the {announced} bytes its header announces; it is damaged, "
                "or no map"
            )

    def _next(self, size: int) -> bytes:
        try:
            part = self._content.read(size)
        except (EOFError, OSError, ValueError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise InputInvalid(f"{self._name}: cannot be read ({error.strerror})") from error
            raise InputInvalid(
                f"{self._name}: its {self._kind} data is cut off or damaged; fetch or make it again"
            ) from error
        self._position += len(part)
        return part
