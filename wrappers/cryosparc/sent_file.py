"""A file, or what would be in one, opened to be sent."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cryobridge.schemas.plain_file import open_plain


@contextmanager
def opened(content: bytes | Path) -> Iterator[IO[bytes]]:
    """What is to be sent as a file that can be read; raises `OSError` where there is none."""
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    with os.fdopen(open_plain(content), "rb") as file:
        yield file
