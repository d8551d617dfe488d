"""The frames between RELION's hook and the daemon, and the greeting of every client.

Standard library only: the hook imports this. What the fields of a call mean for pairing, and who may send it, is the
daemon's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from . import fields
from .codes import AnyCode, Code
from .frames import Family, FrameInvalid, Record, TypedFrame
from .hook_settings import HookSettings
from .iterations import IterationFigures

MAX_PATH_CHARACTERS = 4096
MAX_SETTINGS_CHARACTERS = 256 * 1024
_HALVES = ([0], [1], [2], [1, 2])
_FD_NAME = r"[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32})?"
_HALF_NAME = r"half([012])\."
PROGRAM = "program"
"""The descriptor of a call that is no file: a pidfd of the RELION that waits for the answer, for the daemon alone."""

# ---- parts of frames


class IterationName(Record):
    """Which iteration of which refinement a call belongs to, whatever its half."""

    job_dir: str = fields.text(MAX_PATH_CHARACTERS, least=1)
    root: str = fields.text(255, least=1)
    iteration: int = fields.count(0)
    kind: Literal["class", "body"] = fields.choice("class", "body")
    number: int = fields.count(1)

    @classmethod
    def disagreement(cls, found: Mapping[str, Any]) -> str | None:
        """The folder is absolute, so that both halves name it alike; the root is no path."""
        if not found["job_dir"].startswith("/") or "/" in found["root"]:
            return "'job_dir' must be absolute and 'root' a file stem"
        return None


class WrittenFile(Record):
    """A file that was written through a descriptor: bytes, and zlib's CRC-32 over all of them."""

    size: int = fields.whole(0, 2**63 - 1)
    crc32: int = fields.whole(0, 2**32 - 1)


class SettingsOfHook(Record):
    """What the hook read of its own settings (`schemas.hook_settings`); the worker takes them from here."""

    strict: bool = fields.flag()
    keep_volumes: bool = fields.flag()
    deadline_s: float | None = fields.number(0, default=None)
    correction: bool = fields.flag()

    @classmethod
    def of(cls, settings: HookSettings) -> SettingsOfHook:
        """As they travel."""
        return cls(
            strict=settings.strict,
            keep_volumes=settings.keep_volumes,
            deadline_s=settings.deadline_s,
            correction=settings.correction,
        )

    def as_settings(self) -> HookSettings:
        """As they are used."""
        return HookSettings(
            strict=self.strict,
            keep_volumes=self.keep_volumes,
            deadline_s=self.deadline_s,
            correction=self.correction,
        )


def _halves(name: str, value: object) -> tuple[int, ...]:
    if value not in _HALVES or not isinstance(value, list) or any(isinstance(half, bool) for half in value):
        raise ValueError(f"'{name}' must be [0], [1], [2] or [1, 2]")
    return tuple(int(half) for half in value)


def descriptor_names(name: str, value: object) -> tuple[str, ...]:
    """Read the names of the descriptors that travel with a frame, in their order.

    Raises
    ------
    ValueError
        If they are not distinct names such as `mask` or `half1.star`.
    """
    if not isinstance(value, list) or not all(isinstance(one, str) and re.fullmatch(_FD_NAME, one) for one in value):
        raise ValueError(f"'{name}' must be a list of names")
    if len(set(value)) != len(value):
        raise ValueError(f"'{name}' must name each descriptor once")
    return tuple(value)


# ---- the greeting


class Hello(TypedFrame):
    """The first frame of every client."""

    type = "hello"
    protocol: int = fields.whole(0, 10**6, default=0)
    client: str = fields.line(default="", limit=64)
    version: str = fields.line(default="", limit=64)
    pid: int | None = fields.whole(0, 2**31 - 1, default=None)


class Welcome(TypedFrame):
    """The daemon's answer to `Hello`: which daemon it is, and whether it takes calls ("ready", "draining", "busy")."""

    type = "welcome"
    protocol: int = fields.whole(0, 10**6)
    version: str = fields.line(limit=64, default="unknown")
    state: str = fields.text(32, default="")
    reason: str = fields.line(default="")
    daemon_id: str = fields.text(200, default="")
    pid: int | None = fields.whole(0, 2**31 - 1, default=None)


class Refused(TypedFrame):
    """The daemon does not do what it was asked for, and says why."""

    type = "error"
    ok: bool = fields.flag(default=False)
    code: AnyCode = fields.code(default=Code.FAILED)
    text: str = fields.line(default="")


# ---- from the hook


class CallFrame(TypedFrame):
    """A call of RELION: one half of an iteration, or both where the two hooks sit on two hosts.

    Attributes
    ----------
    environment
        The caller's `ISONET_*` and `CRYOBRIDGE_*` variables and `CUDA_VISIBLE_DEVICES`, as they are.
    settings
        Text of the job folder's `cryobridge.yaml`, or None.
    hook_settings
        What the hook read of its own settings; None from a hook of an older version.
    result_names
        Where RELION reads each half's map, for logs.
    fd_names
        What the descriptors that travel with the frame are, in their order.
    """

    type = "call"
    call_id: str = fields.line(default="", limit=200)
    key: IterationName = fields.record(IterationName)
    halves: tuple[int, ...] = fields.checked(_halves)
    environment: dict[str, str] = fields.texts(default={})
    settings: str | None = fields.document(MAX_SETTINGS_CHARACTERS, default=None)
    hook_settings: SettingsOfHook | None = fields.record(SettingsOfHook, default=None, omitted=True)
    result_names: dict[str, str] = fields.texts(default={})
    fd_names: tuple[str, ...] = fields.checked(descriptor_names)

    def half_fds(self, half: int, fds: Sequence[int]) -> tuple[list[str], list[int]]:
        """The names and descriptors that half `half` needs: its own and the common ones, `PROGRAM` never.

        Raises
        ------
        FrameInvalid
            If not as many descriptors came as there are names.
        """
        if len(self.fd_names) != len(fds):
            raise FrameInvalid(f"call: {len(self.fd_names)} names for {len(fds)} descriptors")
        mine = [
            (name, fd)
            for name, fd in zip(self.fd_names, fds, strict=True)
            if name != PROGRAM and ((match := re.match(_HALF_NAME, name)) is None or int(match[1]) == half)
        ]
        return [name for name, _ in mine], [fd for _, fd in mine]

    def program_fd(self, fds: Sequence[int]) -> int | None:
        """The descriptor that the hook says is a pidfd of RELION; None where none came."""
        return dict(zip(self.fd_names, fds, strict=False)).get(PROGRAM)


class Verified(TypedFrame):
    """A half's corrected map has arrived whole, and the hook agrees to it."""

    type = "verified"
    half: int = fields.whole(0, 2)
    ticket: str = fields.text(64)


class Bye(TypedFrame):
    """The hook leaves; `used` says which map each half took."""

    type = "bye"
    used: dict[str, str] = fields.texts(default={})
    seconds: float = fields.number(0, default=0.0)


# ---- to the hook


class StandardReady(TypedFrame):
    """A half's standard map is in its file; so is the refinement's page, `report`, where the hook made room for it.

    `call` is the iteration's name for 'cryobridge logs'.
    """

    type = "standard"
    half: int = fields.whole(0, 2)
    size: int = fields.whole(0, 2**63 - 1)
    crc32: int = fields.whole(0, 2**32 - 1)
    seconds: float = fields.number(0, default=0.0)
    resolution_A: float | None = fields.figure(default=None)
    report: WrittenFile | None = fields.record(WrittenFile, default=None, omitted=True)
    call: str = fields.line(default="", limit=32)


class Waiting(TypedFrame):
    """A correction is due, and the other half has not called yet."""

    type = "waiting"
    half: int = fields.whole(0, 2)


class CorrectedReady(TypedFrame):
    """A half's corrected map is in its file; `ticket` names the choice that both halves make together."""

    type = "corrected"
    half: int = fields.whole(0, 2)
    size: int = fields.whole(0, 2**63 - 1)
    crc32: int = fields.whole(0, 2**32 - 1)
    ticket: str = fields.text(64, least=1)
    line: str = fields.line(default="")
    session: WrittenFile | None = fields.record(WrittenFile, default=None)
    figures: IterationFigures | None = fields.record(IterationFigures, default=None, omitted=True)


class Answer(TypedFrame):
    """The standard map it is, and why; the last frame to a half."""

    type = "answer"
    half: int | None = fields.whole(0, 2, default=None)
    code: AnyCode = fields.code()
    line: str = fields.line(default="")


class Commit(TypedFrame):
    """Both halves have agreed: the corrected maps are used."""

    type = "commit"
    ticket: str = fields.text(64, least=1)


class CallProgress(TypedFrame):
    """What is being done for a call, for RELION's log."""

    type = "progress"
    text: str = fields.line(default="")
    fraction: float | None = fields.fraction(default=None)


class Heartbeat(TypedFrame):
    """The daemon, and the worker that a client waits for, are alive."""

    type = "heartbeat"


class CallFailed(TypedFrame):
    """A half gets no map; `call` as in `StandardReady`."""

    type = "failed"
    half: int | None = fields.whole(0, 2, default=None, omitted=True)
    code: AnyCode = fields.code(default=Code.FAILED)
    text: str = fields.line(default="the daemon gave no reason")
    call: str = fields.line(default="", limit=32)


FIRST_WORDS = Family[Hello]("the first frame must be hello", Hello)
Greeting = Welcome | Refused
GREETING = Family[Greeting]("a daemon does not greet with '{}'", Welcome, Refused)
CALLS = Family[CallFrame]("a call does not begin with '{}'", CallFrame)
FromHook = CallFrame | Verified | Bye
FROM_HOOK = Family[FromHook]("a hook does not send '{}'", CallFrame, Verified, Bye)
ToHook = StandardReady | Waiting | CorrectedReady | Answer | Commit | CallProgress | Heartbeat | CallFailed | Refused
TO_HOOK = Family[ToHook](
    "a daemon does not send '{}' to a hook",
    StandardReady,
    Waiting,
    CorrectedReady,
    Answer,
    Commit,
    CallProgress,
    Heartbeat,
    CallFailed,
    Refused,
)
