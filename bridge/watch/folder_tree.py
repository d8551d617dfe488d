"""The files of a large folder tree, kept up to date with one look per folder instead of one per file.

A folder is listed again only when its modification time has changed, or when that is so recent that a change could
hide behind it; now and then all are, since the clocks of file servers go their own way.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

MAX_DEPTH = 6
MAX_FOLDERS = 20_000
MAX_ENTRIES = 200_000
RECENT_S = 4.0
FULL_EVERY = 20


@dataclass
class _Listing:
    mtime_ns: int
    taken_at: float
    folders: tuple[str, ...]
    files: frozenset[str]


class FolderTree:
    """The folders below some roots, with the names of their files. Links to folders are not followed."""

    def __init__(self, roots: Sequence[Path], clock: Callable[[], float] = time.time) -> None:
        self._roots = roots
        self._clock = clock
        self._listings: dict[str, _Listing] = {}
        self._rounds = 0
        self._warned = False

    def folders(self) -> Iterator[tuple[Path, frozenset[str]]]:
        """Every folder with the names of the plain files in it."""
        known, self._listings = self._listings, {}
        full = self._rounds % FULL_EVERY == 0
        self._rounds += 1
        todo = [(str(root), 0) for root in reversed(self._roots)]
        while todo:
            path, depth = todo.pop()
            if path in self._listings:
                continue  # below two roots
            if len(self._listings) >= MAX_FOLDERS:
                self._warn_once()
                return
            listing = self._list(path, None if full else known.get(path))
            if listing is None:
                continue
            self._listings[path] = listing
            if depth < MAX_DEPTH:
                todo += [(f"{path}/{name}", depth + 1) for name in reversed(listing.folders)]
            yield Path(path), listing.files

    def _list(self, path: str, known: _Listing | None) -> _Listing | None:
        try:
            mtime_ns = Path(path).stat().st_mtime_ns
            now = self._clock()
            if known and known.mtime_ns == mtime_ns and known.taken_at - mtime_ns / 1e9 > RECENT_S:
                return known
            folders: list[str] = []
            files: list[str] = []
            with os.scandir(path) as entries:
                for count, entry in enumerate(entries):
                    if count >= MAX_ENTRIES:
                        log.debug("%s holds more than %d entries; the rest is not looked at", path, MAX_ENTRIES)
                        break
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            folders.append(entry.name)
                    else:
                        files.append(entry.name)
        except OSError:
            return None  # removed, or not ours to read
        return _Listing(mtime_ns, now, tuple(sorted(folders)), frozenset(files))

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning("more than %d folders to watch; name narrower watch_roots", MAX_FOLDERS)
