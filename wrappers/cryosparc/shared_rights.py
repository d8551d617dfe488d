"""Results that others must read: CryoSPARC runs as another user than the daemon, whose files are its own by default."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_READ, _READ_AND_ENTER = 0o044, 0o055


def share_as_its_parent(folder: Path) -> None:
    """Let those read a folder of results, and the files in it, who may read the folder that it lies in.

    What belongs to another user stays as it is, and links are not followed.
    """
    with contextlib.suppress(OSError):
        allowed = folder.parent.stat().st_mode
        _add(folder, allowed & _READ_AND_ENTER)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    _add(Path(entry.path), allowed & _READ)
                elif entry.is_dir(follow_symlinks=False):
                    _add(Path(entry.path), allowed & _READ_AND_ENTER)


def _add(path: Path, bits: int) -> None:
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode | bits != mode:
            path.chmod(mode | bits)
