"""What a map says of itself: the first of the ten text labels in an MRC header.

References
----------
Cheng et al. 2015, doi 10.1016/j.jsb.2015.04.002 (MRC2014): 80 characters from byte 224 on.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.plain_file import open_plain

from .whole_file import write_all

_FIRST_LABEL = 224
LONGEST = 80


def write_label(path: Path, text: str) -> None:
    """Replace the first label of a map that we wrote.

    Raises
    ------
    ValueError
        If the text is no ASCII, or longer than 80 characters.
    CryobridgeError
        If the file cannot be written to.
    """
    if not text.isascii() or len(text) > LONGEST:
        raise ValueError(f"a label is at most {LONGEST} ASCII characters, not {text!r}")
    try:
        descriptor = open_plain(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            write_all(descriptor, text.encode().ljust(LONGEST), _FIRST_LABEL)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CryobridgeError(f"{path}: cannot be written: {error.strerror}") from error
