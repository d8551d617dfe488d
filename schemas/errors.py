"""The errors users see. Each message says what is wrong, with which file, and what to do; each has a stable code."""

from __future__ import annotations

from .codes import AnyCode, Code


class CryobridgeError(Exception):
    """Something failed in a way that has a name. `code` travels in replies, logs and metrics."""

    code: AnyCode = Code.FAILED


class InputInvalid(CryobridgeError):  # noqa: N818 - the field name users read
    """A file or value from outside is missing, truncated, NaN, mismatched or hostile."""

    code = Code.INPUT_INVALID


class JobRejected(CryobridgeError):  # noqa: N818
    """A job was refused before it started (unknown kind, bad option, queue full, not allowed)."""

    code = Code.REJECTED


class DeadlineExceeded(CryobridgeError):  # noqa: N818
    """There was not enough time."""

    code = Code.TIMEOUT


class OutOfMemory(CryobridgeError):  # noqa: N818
    """Host or device memory ran out after every smaller attempt."""

    code = Code.OOM


class BadResult(CryobridgeError):  # noqa: N818
    """The network's map was not finite, not on scale or not of the right shape; it is never handed out."""

    code = Code.BAD_RESULT


class Cancelled(CryobridgeError):  # noqa: N818
    """Somebody asked for the job to stop."""

    code = Code.CANCELLED


class DaemonUnavailable(CryobridgeError):  # noqa: N818
    """No daemon answers, or it is of another version, busy or draining."""

    code = Code.NO_DAEMON
