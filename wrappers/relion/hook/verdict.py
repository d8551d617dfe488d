"""One choice for both halves: the first of the two hooks to write it decides, both obey what is written.

A half-map pair of which one is corrected and the other is not would be worse than none, so neither hook trusts
its own view of whether the daemon, the partner or its host is still alive.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from .call import read_text

CORRECTED = "corrected"
STANDARD = "standard"
_TICKET = r"[A-Za-z0-9-]{1,64}"


def is_ticket(text: object) -> bool:
    """Whether a daemon's ticket may stand in a file name."""
    return isinstance(text, str) and re.fullmatch(_TICKET, text) is not None


def decide(path: str, choice: str) -> str:
    """Propose `choice` and return what has been decided, by this process or the other one.

    The choice is the target of a symbolic link, because making one is atomic with its content, over NFS too.
    File systems without links get a hard link to a small file, with the same property.

    Raises
    ------
    OSError
        If nothing can be written or read there. The other hook then cannot either, so both take the standard map.
    """
    try:
        os.symlink(choice, path)
    except FileExistsError:
        pass
    except OSError:
        _link_file(path, choice)
    return _read(path)


def first(path: str, name: str) -> bool:
    """Claim something; True when `name` got it."""
    return decide(path, name) == name


def _link_file(path: str, choice: str) -> None:
    temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(fd, choice.encode())
        os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.close(fd)
        os.unlink(temporary)


def _read(path: str) -> str:
    # Over NFS a name that exists on the server may be missing in this client's cache for a moment.
    for _ in range(20):
        try:
            return os.readlink(path)
        except FileNotFoundError:
            time.sleep(0.1)
        except OSError:
            return read_text(path, 64)
    return os.readlink(path)
