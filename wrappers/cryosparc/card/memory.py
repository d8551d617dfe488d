"""What an agent knows of its cards across its own death: one small file for each, written before anything is done.

A card's file is locked while a process works on it, so that what a killed process left is found by whoever comes next,
and never taken from one that lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain, read_bounded

from ...formats.whole_file import remove_leftovers, whole_file, write_all
from ..documents import CardId

_MAX_BYTES = 1_000_000
_CARD = re.compile(r"(P[1-9][0-9]{0,8})-(J[1-9][0-9]{0,8})")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{0,100}")


@dataclass(frozen=True)
class Remembered:
    """A card that is worked on.

    Attributes
    ----------
    request
        Name of the request at the daemon, which takes one name once.
    claim
        Name of the claim's file; empty before it is known.
    started
        Whether the card is known to have been marked as begun.
    spec
        The job, once it may have been handed to the daemon.
    published
        What has been sent already and must not be sent twice.
    """

    project: str
    job: str
    request: str
    claim: str = ""
    started: bool = False
    spec: dict[str, Any] | None = None
    published: tuple[str, ...] = ()

    @property
    def card(self) -> CardId:
        """The card."""
        return CardId(self.project, self.job)

    def but(self, **changes: object) -> Remembered:
        """The same with changes."""
        return replace(self, **changes)  # type: ignore[arg-type]


class Memory:
    """A folder of files, one for each card of one server.

    Parameters
    ----------
    folder
        Made if absent, readable by its owner only.

    Raises
    ------
    InputInvalid
        If it cannot be made or used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _keep_private(folder)
            remove_leftovers(folder)
            self.owner = self._own_name()
        except OSError as error:
            raise InputInvalid(f"{folder}: cannot be used to keep what is done: {error.strerror or error}") from error

    def cards(self) -> list[CardId]:
        """Cards that were begun and not ended, whoever works on them."""
        found = (_CARD.fullmatch(path.stem) for path in sorted(self.folder.glob("P*-J*.json")))
        return [CardId(one[1], one[2]) for one in found if one]

    @contextlib.contextmanager
    def held(self, card: CardId) -> Iterator[HeldCard | None]:
        """Hold a card while it is worked on; None where another process does."""
        lock = self.folder / f"{card}.lock"
        descriptor = open_plain(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            if not _is_at(lock, descriptor):
                # Removed by whoever held it a moment ago; the next to come makes a new one.
                yield None
                return
            held = HeldCard(self.folder / f"{card}.json", card)
            yield held
            if held.known is None:
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _own_name(self) -> str:
        """The same for every process that uses this folder, from the first on: claims are known by it."""
        path = self.folder / "owner"
        lock = open_plain(self.folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and (name := read_bounded(path, 100).strip()):
                return name
            name = secrets.token_hex(8)
            with whole_file(path) as descriptor:
                write_all(descriptor, name.encode(), 0)
            return name
        finally:
            os.close(lock)


class HeldCard:
    """What is known of a card that this process holds.

    Attributes
    ----------
    was_damaged
        Whether there was something that cannot be believed: the card may have been begun here.
    """

    def __init__(self, path: Path, card: CardId) -> None:
        self._path = path
        self.card = card
        self.known = self._read()
        self.was_damaged = self.known is None and os.path.lexists(path)

    def begin(self) -> Remembered:
        """What was known, or the beginning of a new request."""
        if self.known is not None:
            return self.known
        new = Remembered(self.card.project, self.card.job, f"cs-{self.card}-{secrets.token_hex(6)}")
        self.note(new)
        return new

    def note(self, known: Remembered) -> None:
        """Keep it, on disk, before anything is done that it says."""
        with whole_file(self._path) as descriptor:
            write_all(descriptor, json.dumps(asdict(known)).encode(), 0)
        self.known = known

    def forget(self) -> None:
        """It has ended, and everybody knows."""
        self._path.unlink(missing_ok=True)
        self.known = None

    def _read(self) -> Remembered | None:
        if not self._path.exists():
            return None
        try:
            values = json.loads(read_bounded(self._path, _MAX_BYTES))
            known = Remembered(**{**values, "published": tuple(values.get("published", ()))})
        except (InputInvalid, ValueError, TypeError, AttributeError, RecursionError):
            # Written whole, so this is somebody's hand; a card is claimed anew rather than guessed at.
            return None
        return known if known.card == self.card and _is_sound(known) else None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a file is still the one at a path."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_sound(known: Remembered) -> bool:
    """Whether all is of the sort that it should be; the name of the claim becomes part of a path."""
    return (
        isinstance(known.started, bool)
        and isinstance(known.spec, dict | None)
        and all(isinstance(one, str) for one in known.published)
        and all(isinstance(one, str) and _PLAIN_NAME.fullmatch(one) for one in (known.request, known.claim))
        and known.request != ""
        and known.claim.strip(".") == known.claim
    )


def _keep_private(folder: Path) -> None:
    """Others may neither read nor change what is kept; raises `OSError` where the folder is another's."""
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"it belongs to another user ({found.st_uid})")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        folder.chmod(0o700)
