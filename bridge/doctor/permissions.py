"""What another user may do with a file, by the permission bits on the way to it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

_SHIFT_OWNER, _SHIFT_GROUP = 6, 3


def may_open(uid: int, file: Path, wanted: int) -> bool:
    """Whether a user may open a file or device so (`os.R_OK` or `os.W_OK`).

    Access lists, and what a file server does, are not seen.
    """
    if uid == 0:
        return True
    groups = _groups_of(uid)
    real = file.resolve()
    try:
        way = all(_has(uid, groups, above.stat(), os.X_OK) for above in real.parents)
        return way and _has(uid, groups, real.stat(), wanted)
    except OSError:
        return False


def _has(uid: int, groups: frozenset[int], found: os.stat_result, wanted: int) -> bool:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == uid:
        return bool(mode >> _SHIFT_OWNER & wanted)
    if found.st_gid in groups:
        return bool(mode >> _SHIFT_GROUP & wanted)
    return bool(mode & wanted)


def _groups_of(uid: int) -> frozenset[int]:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return frozenset()
    return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))
