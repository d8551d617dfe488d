"""The closed set of codes: why a call, a job or a request ended as it did, in one word that programs can rely on.

Hook, daemon, worker and commands share it, so that all of them agree on what counts as a failure. Standard library
only, because the hook imports it.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Why something ended as it did; travels in frames, in the store and in logs."""

    # Something went wrong.
    FAILED = "failed"  # for no reason that has a name of its own
    INPUT_INVALID = "input_invalid"  # a file or value from outside cannot be used
    SETTINGS_INVALID = "settings_invalid"  # the refinement's settings file, which the user is to edit
    REJECTED = "rejected"  # refused before it began
    TIMEOUT = "timeout"
    OOM = "oom"
    WORKER_DIED = "worker_died"
    STALLED = "stalled"  # no step was made for too long while a call waited
    BAD_RESULT = "bad_result"  # not finite, not whole or not on scale
    CANCELLED = "cancelled"
    NO_DAEMON = "no_daemon"
    PARTNER_MISSING = "partner_missing"  # the other half never came, or left
    DISK_FULL = "disk_full"  # no room for a corrected map
    SILENT = "silent"  # a daemon that shows no life
    LOST = "lost"  # a daemon that went away, or talks nonsense
    STORE = "store"  # the database cannot be read or written

    # As planned.
    CORRECTED = "corrected"
    NOT_DUE = "not_due"
    OFF = "off"
    GRADIENT = "gradient"
    JOINED = "joined"  # the last, joined reconstruction
    NO_HALF_SETS = "no_half_sets"
    MULTI_BODY = "multi_body"
    SEQUENTIAL = "sequential"  # the halves never wait at the same time
    TWO_DIMENSIONAL = "two_dimensional"

    @property
    def is_failure(self) -> bool:
        """Whether something was wanted and could not be had."""
        return self not in _AS_PLANNED


_AS_PLANNED = frozenset(
    {
        Code.CORRECTED,
        Code.NOT_DUE,
        Code.OFF,
        Code.GRADIENT,
        Code.JOINED,
        Code.NO_HALF_SETS,
        Code.MULTI_BODY,
        Code.SEQUENTIAL,
        Code.TWO_DIMENSIONAL,
    }
)


class ForeignCode(str):
    """A code of a newer peer: passed on as it came, and taken for a failure, since nothing else is known of it."""

    __slots__ = ()

    @property
    def is_failure(self) -> bool:
        """Always true."""
        return True


AnyCode = Code | ForeignCode


def code_of(text: str) -> AnyCode:
    """The code that a word from outside stands for; a word that is no code of this version keeps its spelling."""
    try:
        return Code(text)
    except ValueError:
        return ForeignCode(text)
