"""What a job's inputs were, as records with hashes; each file is read for that once, however often it is asked for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain
from cryobridge.schemas.result import FileRecord

_BLOCK_BYTES = 2**22
_MOST_ENTRIES = 1_000_000

Identity = tuple[int, int, int, int, int]


class InputRecords:
    """Records of files and folders, remembered for as long as they stay the same on the disk."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Identity], FileRecord] = {}

    def record(self, path: Path) -> FileRecord:
        """The record of a file, or of a folder by the names, sizes and times of the files below it.

        Raises
        ------
        InputInvalid
            If it cannot be read, or a folder holds more than a million files.
        """
        try:
            if path.is_dir():
                return _folder_record(path)
            key = (path, _identity(path))
            if key not in self._known:
                self._known[key] = file_record(path)
            return self._known[key]
        except OSError as error:
            raise InputInvalid(f"{path}: cannot be read: {error.strerror}") from error

    def hash_of(self, path: Path) -> str:
        """The SHA-256 of a file, or of what a folder lists; raises as `record`."""
        return self.record(path).sha256


def file_record(path: Path) -> FileRecord:
    """Read a file and record its size and SHA-256; raises `OSError` if it cannot be read."""
    digest, size = hashlib.sha256(), 0
    with open(open_plain(path), "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return FileRecord(path=str(path), sha256=digest.hexdigest(), size_bytes=size)


def _identity(path: Path) -> Identity:
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _folder_record(folder: Path) -> FileRecord:
    digest, total = hashlib.sha256(), 0
    for count, (name, size, changed_ns) in enumerate(_listing(folder)):
        if count == _MOST_ENTRIES:
            raise InputInvalid(f"{folder}: holds more than {_MOST_ENTRIES} files; give one of this job's own")
        digest.update(json.dumps([name, size, changed_ns]).encode())
        total += size
    return FileRecord(path=str(folder), sha256=digest.hexdigest(), size_bytes=total)


def _listing(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Relative name, size and time of change of every file below a folder, in one order; links are not followed."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(place, name)
            state = path.lstat()
            yield str(path.relative_to(folder)), state.st_size, state.st_mtime_ns
