"""The frames between commands and the daemon: what can be asked, and how it is answered. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import fields
from .frames import Family, Record, TypedFrame
from .messages import MAX_PATH_CHARACTERS, Heartbeat, Refused
from .news import NewsEvent, Snapshot
from .wire import Message

MAX_JOBS_SHOWN = 10_000
_MAX_JOB_ID_CHARACTERS = 200


def _session(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or len(value) > MAX_PATH_CHARACTERS:
        raise ValueError(f"'{name}' must be the job folder and output root, e.g. /project/Refine3D/job012/run")
    return value


def _warm(name: str, value: object) -> str:
    """Another user's refinement has his number before it, as `ps` shows it."""
    owner, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    _session(name, rest if colon and owner.isdecimal() else value)
    return str(value)


def _rows(name: str, value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError(f"'{name}' must be a list of objects")
    return tuple(value)


def _lines(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError(f"'{name}' must be a list of texts")
    return tuple(value)


# ---- from commands


class AskStatus(TypedFrame):
    """How the daemon is."""

    type = "status"


class AskProcesses(TypedFrame):
    """What runs or waits now, and which refinements are warm."""

    type = "ps"


class ListJobs(TypedFrame):
    """The newest jobs; only the asker's own with `mine`, only those of a state or kind where one is named."""

    type = "jobs"
    limit: int = fields.whole(1, MAX_JOBS_SHOWN, default=20)
    mine: bool = fields.flag(default=False)
    state: str | None = fields.text(32, default=None, omitted=True)
    kind: str | None = fields.text(64, default=None, omitted=True)


class ReadLog(TypedFrame):
    """A job's log."""

    type = "logs"
    job_id: str = fields.text(_MAX_JOB_ID_CHARACTERS)


class CancelJob(TypedFrame):
    """Stop a job, or give the halves of an iteration their standard map."""

    type = "cancel"
    job_id: str = fields.text(_MAX_JOB_ID_CHARACTERS)


class SubmitJob(TypedFrame):
    """Store and run a job of the job schema."""

    type = "submit"
    spec: dict[str, Any] = fields.table()


class WaitForJob(TypedFrame):
    """Answer when a job is finished, or after `timeout_s` (at once when 0 or less, the daemon's limit when None)."""

    type = "wait"
    job_id: str = fields.text(_MAX_JOB_ID_CHARACTERS)
    timeout_s: float | None = fields.number(default=None)


class DrainDaemon(TypedFrame):
    """Finish what runs and take nothing new."""

    type = "drain"


class ResumeDaemon(TypedFrame):
    """Take work again after a drain."""

    type = "resume"


class FollowNews(TypedFrame):
    """Send a snapshot of all that the asker may see, then every change, until the asker leaves; `once`: no changes."""

    type = "follow"
    once: bool = fields.flag(default=False)


class AskMetrics(TypedFrame):
    """The figures that Prometheus reads, as its text format."""

    type = "metrics"


class AskSettings(TypedFrame):
    """The configuration that the daemon runs with, and where each value came from."""

    type = "config"


class StopDaemon(TypedFrame):
    """Drain, then end."""

    type = "stop"


class ExpectedRefinement(TypedFrame):
    """A refinement that will call, as far as its folder shows it (`wrappers.relion.run_folder`).

    `session` is the job folder and output root; `box` is in voxels, the mask a path.
    """

    session: str = fields.checked(_session)
    job_dir: str | None = fields.text(MAX_PATH_CHARACTERS, default=None, omitted=True)
    root: str | None = fields.text(255, default=None, omitted=True)
    iteration: int | None = fields.count(0, default=None, omitted=True)
    mask: str | None = fields.text(MAX_PATH_CHARACTERS, default=None, omitted=True)
    box: int | None = fields.whole(0, 65536, default=None, omitted=True)
    padding: float | None = fields.number(0, default=None, omitted=True)
    voxel_size_A: float | None = fields.number(0, default=None, omitted=True)
    symmetry: str | None = fields.text(64, default=None, omitted=True)


class PrepareRefinement(ExpectedRefinement):
    """Get ready for a refinement before its first call."""

    type = "prepare"


class ReleaseRefinement(TypedFrame):
    """Let a refinement's warm state go."""

    type = "release"
    session: str = fields.checked(_warm)


# ---- to commands


class RequestReply(TypedFrame):
    """The answer to a request; its fields stand beside `type` and `ok`, and depend on the request."""

    type = "reply"
    ok: bool = fields.flag(default=True)
    answer: dict[str, Any] = fields.table(default={})

    @classmethod
    def read_fields(cls, values: Mapping[str, object]) -> dict[str, Any]:
        """All that is neither `type` nor `ok` is the answer."""
        known = super().read_fields({"ok": values.get("ok")})
        return {**known, "answer": {key: value for key, value in values.items() if key not in ("type", "ok")}}

    def as_values(self) -> Message:
        """The answer's fields beside `ok`."""
        return {"ok": self.ok, **self.answer}


class JobStanding(Record):
    """What a reply to `SubmitJob`, `CancelJob` or `WaitForJob` says of its job."""

    job_id: str = fields.text(_MAX_JOB_ID_CHARACTERS, default="")
    state: str = fields.text(32, default="")
    reason: str | None = fields.line(default=None)
    text: str | None = fields.line(default=None)


class Processes(Record):
    """What a reply to `AskProcesses` holds: a row each of what runs or waits, and of what is warm."""

    processes: tuple[Message, ...] = fields.checked(_rows)
    sessions: tuple[Message, ...] = fields.checked(_rows)


class LogLines(Record):
    """What a reply to `ReadLog` holds."""

    lines: tuple[str, ...] = fields.checked(_lines)


class JobProgress(TypedFrame):
    """How far the job is that a command waits for."""

    type = "progress"
    job_id: str = fields.text(_MAX_JOB_ID_CHARACTERS, default="")
    text: str = fields.line(default="")
    fraction: float | None = fields.fraction(default=None)


Request = (
    AskStatus
    | AskProcesses
    | ListJobs
    | ReadLog
    | CancelJob
    | SubmitJob
    | WaitForJob
    | DrainDaemon
    | ResumeDaemon
    | StopDaemon
    | FollowNews
    | AskMetrics
    | AskSettings
    | PrepareRefinement
    | ReleaseRefinement
)
FROM_COMMAND = Family[Request](
    "there is no request '{}'",
    AskStatus,
    AskProcesses,
    ListJobs,
    ReadLog,
    CancelJob,
    SubmitJob,
    WaitForJob,
    DrainDaemon,
    ResumeDaemon,
    StopDaemon,
    FollowNews,
    AskMetrics,
    AskSettings,
    PrepareRefinement,
    ReleaseRefinement,
)
ToCommand = RequestReply | Refused | JobProgress | Heartbeat | Snapshot | NewsEvent
TO_COMMAND = Family[ToCommand](
    "a daemon does not answer with '{}'", RequestReply, Refused, JobProgress, Heartbeat, Snapshot, NewsEvent
)
