"""Rights of what a job leaves in its card's folder: CryoSPARC's own user has to read it, and remove it with the job.

The daemon makes files for its user only, which is right for whoever asks it for a job of his own. A card's folder says
who else is to have them.
"""

from __future__ import annotations

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
    refused = []
    for path in (folder, *_within(folder)):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            continue
        mode = stat.S_IMODE(found.st_mode) | (wanted.st_mode & _NOT_THE_OWNER)
        if not stat.S_ISDIR(found.st_mode):
            mode &= ~_NEVER_RUN
        try:
            if found.st_gid != wanted.st_gid:
                os.chown(path, -1, wanted.st_gid, follow_symlinks=False)
            if mode != stat.S_IMODE(found.st_mode):
                path.chmod(mode)
        except PermissionError:
            refused.append(path)
    return refused


def _within(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files))
