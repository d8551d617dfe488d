"""What a job on a list of tomograms has made so far, kept in its folder: after an interruption it goes on behind it.

An output of an earlier attempt counts only if it was made by the same settings from the same files.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryobridge.schemas.plain_file import read_plain

from ..jobs.folder import OutputFolder

NOTES_NAME = ".made.json"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class MadeTomogram:
    """What one tomogram became.

    Attributes
    ----------
    files
        Names in the output folder.
    values
        Of its row in the table, by label; paths of its files are put in by `paths`.
    paths
        Labels whose values are files of the output folder, by name.
    numbers
        For the report and the result.
    remarks
        Sentences on it, for the report and the result.
    """

    files: Sequence[str]
    values: Mapping[str, str]
    paths: Mapping[str, str]
    numbers: Mapping[str, Any]
    remarks: Sequence[str] = ()


class MadeNotes:
    """The notes of one job.

    Parameters
    ----------
    folder
        Of the job; what it holds counts if it is of an earlier attempt at this very job.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._made: dict[str, Any] = self._read() if folder.resumed else {}

    def of(self, key: str, made_from: Mapping[str, Any]) -> MadeTomogram | None:
        """What a tomogram became in an earlier attempt, if its files are still there."""
        note = self._made.get(key)
        if not isinstance(note, dict) or note.get("from") != _plain(made_from):
            return None
        try:
            made = MadeTomogram(**note["made"])
        except (KeyError, TypeError):
            return None
        if not all((self._folder.path / name).is_file() for name in made.files):
            return None
        for name in made.files:
            self._folder.count_again(name)
        return made

    def note(self, key: str, made_from: Mapping[str, Any], made: MadeTomogram) -> None:
        """Take down that a tomogram is done."""
        self._made[key] = {"from": _plain(made_from), "made": vars(made)}
        self._folder.write_text(NOTES_NAME, json.dumps(self._made), is_output=False)

    def drop(self) -> None:
        """Remove them: the job is finished."""
        with contextlib.suppress(OSError):
            (self._folder.path / NOTES_NAME).unlink()

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(read_plain(self._folder.path / NOTES_NAME, _MOST_BYTES))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def state_of(paths: Sequence[Path]) -> list[list[Any]]:
    """By what files are known again: name, size, and time of the last change."""
    found = []
    for path in paths:
        status = path.stat()
        found.append([str(path), status.st_size, status.st_mtime_ns])
    return found


def _plain(values: Mapping[str, Any]) -> Any:
    """As they come back from JSON."""
    return json.loads(json.dumps(dict(values)))
