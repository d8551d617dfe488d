"""Rights of what a job leaves in its card's folder: CryoSPARC's own user has to read it, and remove it with the job.

The daemon makes files for its user only, which is right for whoever asks it for a job of his own. A card's folder says
who else is to have them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_NOT_THE_OWNER = stat.S_IRWXG | stat.S_IRWXO
_NEVER_RUN = stat.S_IXGRP | stat.S_IXOTH


def share(folder: Path, like: Path) -> list[Path]:
    """Give a folder, and all in it, the group of another folder and the rights that it gives to others than its owner.

    Returns
    -------
    list
        What belongs to somebody else, so that its rights cannot be changed.
    """
    wanted = like.stat()
    # By descriptors, and never through a link: others may write there, and put one in the place of a file.
    return [path for path, name, within in _within(folder) if not _shared(name, within, wanted)]


def _within(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """Each path, its name, and the descriptor of the folder that it is in."""
    for place, folders, files, within in os.fwalk(folder):
        yield Path(place), ".", within
        for name in (*folders, *files):
            yield Path(place, name), name, within


def _shared(name: str, within: int, wanted: os.stat_result) -> bool:
    """Give one file or folder the group and the rights; False where it belongs to somebody else."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
    except PermissionError:
        return False
    except OSError as error:
        # A link, or gone meanwhile.
        if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENXIO):
            return True
        raise
    try:
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode) | (wanted.st_mode & _NOT_THE_OWNER)
        if not stat.S_ISDIR(found.st_mode):
            mode &= ~_NEVER_RUN
        if found.st_gid != wanted.st_gid:
            os.fchown(descriptor, -1, wanted.st_gid)
        if mode != stat.S_IMODE(found.st_mode):
            os.fchmod(descriptor, mode)
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True
