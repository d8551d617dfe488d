"""Which cards the bridge has made on a server that cannot be searched (CryoSPARC 4): a small file for each.

Whoever makes a card notes that it asks for one before it does, so that one whose answer was lost, or whose maker was
killed, is found later. Every process of this user on this machine sees the same notes.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

from ...formats.whole_file import whole_file
from ..documents import CardId

KEPT_S = 7 * 86400.0
"""A card that has ended may be cleared and started again for so long; then it is forgotten."""
_TOUCHED_S = 3600.0
_MAX_BYTES = 10_000


@dataclass(frozen=True)
class Asked:
    """A card that was asked for, and of which it is not known whether there is one.

    Attributes
    ----------
    mark
        Line of its description by which it is known.
    after
        Number of the newest job of the project before it was asked for; None where that could not be known.
    """

    project: str
    workspace: str
    title: str
    mark: str
    after: int | None


class MadeCards:
    """Notes in a folder, which is made when there is something to note."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cards(self, projects: Collection[str]) -> list[CardId]:
        """Cards of these projects."""
        parts = [path.name.split("-") for path in self._folder.glob("P*-J*")]
        return sorted(CardId(*part) for part in parts if len(part) == 2 and part[0] in projects)

    def add(self, card: CardId) -> None:
        """Note a card."""
        self._write(str(card), b"")

    def is_alive(self, card: CardId) -> None:
        """Note that a card has not ended."""
        path = self._folder / str(card)
        try:
            if time.time() - path.stat().st_mtime > _TOUCHED_S:
                os.utime(path)
        except OSError:
            # Forgotten by another process.
            return

    def has_ended(self, card: CardId) -> None:
        """Note that a card has ended or is gone: one that has been so for long is forgotten."""
        path = self._folder / str(card)
        try:
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()
        except OSError:
            return

    # ---- questions

    def ask(self, asked: Asked) -> None:
        """Note that a card is about to be asked for."""
        self._write(_name(asked.mark), json.dumps(asdict(asked)).encode())

    def answered(self, mark: str) -> None:
        """Note that it is known what became of it."""
        (self._folder / _name(mark)).unlink(missing_ok=True)

    def questions(self) -> list[tuple[Asked, float]]:
        """Cards of which it is not known whether there is one, and how many seconds ago they were asked for."""
        found = []
        for path in self._folder.glob("asked-*"):
            try:
                age = time.time() - path.stat().st_mtime
                found.append((Asked(**json.loads(read_bounded(path, _MAX_BYTES))), age))
            except (OSError, InputInvalid, ValueError, TypeError):
                # Answered by another process, or somebody's hand.
                continue
        return found

    def _write(self, name: str, content: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with whole_file(self._folder / name) as descriptor:
                os.write(descriptor, content)
        except OSError as error:
            raise InputInvalid(f"{self._folder}: cannot be used to note which cards were made: {error}") from error


def _name(mark: str) -> str:
    return f"asked-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
