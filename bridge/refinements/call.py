"""A call as the hook sends it, checked field by field before anything is done with it.

Another user's process may be on the other side, so nothing here is taken on trust.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.wire import Message

MAX_PATH_CHARACTERS = 4096
MAX_ENVIRONMENT = 512
MAX_SETTINGS_CHARACTERS = 256 * 1024
_FD_NAME = re.compile(r"^[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32})?$")
_HALF_NAME = re.compile(r"^half([012])\.")
_HALVES = ([0], [1], [2], [1, 2])


@dataclass(frozen=True)
class CallKey:
    """What the halves of one iteration have in common; of one user."""

    uid: int
    job_dir: str
    root: str
    iteration: int
    kind: str
    number: int

    @property
    def session(self) -> str:
        """The refinement, as workers name it."""
        return session_name(self.uid, f"{self.job_dir.rstrip('/')}/{self.root}")

    @property
    def label(self) -> str:
        """For people: run_it010_class001."""
        return f"{self.root}_it{self.iteration:03d}_{self.kind}{self.number:03d}"


@dataclass(frozen=True)
class HookCall:
    """One run of the hook."""

    id: str
    key: CallKey
    halves: tuple[int, ...]
    environment: dict[str, str]
    settings: str | None
    fd_names: tuple[str, ...]

    def half_fds(self, half: int, fds: list[int]) -> tuple[list[str], list[int]]:
        """The names and descriptors that half `half` needs: its own and the common ones."""
        mine = [
            (name, fd)
            for name, fd in zip(self.fd_names, fds, strict=True)
            if (match := _HALF_NAME.match(name)) is None or int(match[1]) == half
        ]
        return [name for name, _ in mine], [fd for _, fd in mine]


def session_name(uid: int, name: str) -> str:
    """A refinement's name for workers; users do not share refinements, whatever paths they claim."""
    return name if uid == os.getuid() else f"{uid}:{name}"


def read_call(message: Message, n_fds: int, uid: int) -> HookCall:
    """Check a call frame.

    Raises
    ------
    InputInvalid
        If a field is missing, of a wrong type or out of range; names it.
    """
    key = message.get("key")
    if not isinstance(key, dict):
        raise InputInvalid("call: 'key' is missing")
    job_dir = _text(key, "job_dir", MAX_PATH_CHARACTERS)
    root = _text(key, "root", 255)
    if not job_dir.startswith("/") or "/" in root:
        raise InputInvalid("call: 'job_dir' must be absolute and 'root' a file stem")
    kind = key.get("kind")
    if kind not in ("class", "body"):
        raise InputInvalid("call: 'kind' must be class or body")
    halves = message.get("halves")
    if halves not in _HALVES:
        raise InputInvalid("call: 'halves' must be [0], [1], [2] or [1, 2]")
    names = message.get("fd_names")
    if not isinstance(names, list) or not all(isinstance(name, str) and _FD_NAME.match(name) for name in names):
        raise InputInvalid("call: 'fd_names' must be a list of names")
    if len(names) != n_fds or len(set(names)) != len(names):
        raise InputInvalid(f"call: {len(names)} names for {n_fds} descriptors")
    settings = message.get("settings")
    if settings is not None and (not isinstance(settings, str) or len(settings) > MAX_SETTINGS_CHARACTERS):
        raise InputInvalid("call: 'settings' must be a text of bounded length")
    return HookCall(
        id=str(message.get("call_id", ""))[:200],
        key=CallKey(uid, job_dir, root, _count(key, "iteration", 0), kind, _count(key, "number", 1)),
        halves=tuple(halves),
        environment=_environment(message.get("environment")),
        settings=settings,
        fd_names=tuple(names),
    )


def _text(values: dict[str, Any], name: str, limit: int) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= limit or "\0" in value:
        raise InputInvalid(f"call: '{name}' must be a text of 1 to {limit} characters")
    return value


def _count(values: dict[str, Any], name: str, least: int) -> int:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 10**6:
        raise InputInvalid(f"call: '{name}' must be a number from {least} on")
    return value


def _environment(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if (
        not isinstance(value, dict)
        or len(value) > MAX_ENVIRONMENT
        or not all(isinstance(text, str) for text in value.values())
    ):
        raise InputInvalid("call: 'environment' must hold texts")
    return dict(value)


def duplicate(fds: list[int]) -> list[int]:
    """Copies of descriptors, for a frame that goes out twice.

    Raises
    ------
    OSError
        If no descriptor is free; none is left open then.
    """
    copies: list[int] = []
    try:
        copies.extend(os.dup(fd) for fd in fds)
    except OSError:
        for fd in copies:
            os.close(fd)
        raise
    return copies
