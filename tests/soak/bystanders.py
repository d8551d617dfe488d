"""Files that are nobody's business but their owner's: noted before, looked at after. And files that should be gone."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

Mark = tuple[int, int, str]
"""Mode, time of the last change in nanoseconds, and what is in it."""


def marks(folder: Path) -> dict[Path, Mark]:
    """Every file below a folder, links as links; pipes and devices are not read."""
    return {path: _mark(path) for path in _below(folder)}


def touched(before: dict[Path, Mark]) -> list[str]:
    """What is no longer as it was, each with what is wrong."""
    found = []
    for path, mark in before.items():
        try:
            now = _mark(path)
        except FileNotFoundError:
            found.append(f"{path} is gone")
            continue
        if now[2] != mark[2]:
            found.append(f"{path} has other content")
        elif now[:2] != mark[:2]:
            found.append(f"{path} has another mode or time")
    return found


def left_over(folder: Path, known: Iterable[str] = ()) -> list[str]:
    """Temporary files below a folder, relative to it: hidden ones, parts, and those with our mark in their name."""
    spared = set(known)
    return sorted(
        str(path.relative_to(folder)) for path in _below(folder) if _is_temporary(path.name) and path.name not in spared
    )


def _is_temporary(name: str) -> bool:
    return name.startswith(".") or ".part" in name or "cryobridge-" in name or name.endswith(".tmp")


def _below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place, name)


def _mark(path: Path) -> Mark:
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode):
        content = f"-> {path.readlink()}"
    elif stat.S_ISREG(state.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        content = "not a file"
    return state.st_mode, state.st_mtime_ns, content
