"""The errors users see. Each message says what is wrong, with which file, and what to do; each has a stable code."""

from __future__ import annotations

from .codes import AnyCode, Code


class CryobridgeError(Exception):
    """Something failed in a way that has a name. `code` travels in replies, logs and metrics."""

    code: AnyCode = Code.FAILED


class InputInvalid(CryobridgeError):  # noqa: N818 - the field name users read
    """A file or value from outside is missing, truncated, NaN, mismatched or hostile."""

    code = Code.INPUT_INVALID


class SettingsInvalid(InputInvalid):
    """The settings file of a refinement cannot be used; nothing but editing it helps."""

    code = Code.SETTINGS_INVALID


class OptionsInvalid(InputInvalid):
    """What was asked for makes no job: a key that does not exist, a value out of range, options that contradict.

    Parameters
    ----------
    source
        Where it was asked for, e.g. a file name; empty where the sentence needs none.
    sentence
        What is wrong.
    place
        The keys that lead to it, as they were written; empty where several are at fault.
    """

    def __init__(self, source: str, sentence: str, place: tuple[str, ...] = ()) -> None:
        super().__init__(f"{source}: {sentence}" if source else sentence)
        self.sentence = sentence
        self.place = place

    def of(self, source: str) -> OptionsInvalid:
        """The same error with a source that says more."""
        return OptionsInvalid(source, self.sentence, self.place)


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
