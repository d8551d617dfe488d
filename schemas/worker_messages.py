"""The frames between the daemon and its workers, and how urgent each is. Standard library only."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from . import fields
from .codes import AnyCode, Code
from .frames import Family, TypedFrame
from .messages import (
    MAX_PATH_CHARACTERS,
    MAX_SETTINGS_CHARACTERS,
    SettingsOfHook,
    WrittenFile,
    descriptor_names,
)
from .requests import ExpectedRefinement

_MAX_TASK_CHARACTERS = 300
_MAX_SESSION_CHARACTERS = MAX_PATH_CHARACTERS + 300
"""A job folder, an output root and a user's number."""

# ---- to the worker


class ToWorkerFrame(TypedFrame):
    """A frame to the worker.

    Attributes
    ----------
    urgency
        Smaller goes first. A task gives way, between its steps, to anything of smaller number.
    needs_device
        Whether it computes: a task that gives way to it leaves it all of the device's memory.
    """

    urgency: ClassVar[int]
    needs_device: ClassVar[bool] = False


class HalfTask(ToWorkerFrame):
    """Make the standard map of one half of a call, and keep what a correction needs."""

    type = "half"
    urgency = 1
    needs_device = True
    task: str = fields.text(_MAX_TASK_CHARACTERS, least=1)
    session: str = fields.text(_MAX_SESSION_CHARACTERS, least=1)
    iteration: int = fields.count(0)
    half: int = fields.whole(0, 2)
    number: int = fields.count(1)
    kind: Literal["class", "body"] = fields.choice("class", "body")
    environment: dict[str, str] = fields.texts(default={})
    settings: str | None = fields.document(MAX_SETTINGS_CHARACTERS, default=None)
    hook_settings: SettingsOfHook | None = fields.record(SettingsOfHook, default=None, omitted=True)
    fd_names: tuple[str, ...] = fields.checked(descriptor_names)


class CorrectTask(ToWorkerFrame):
    """Correct the two halves that were kept of these tasks."""

    type = "correct"
    urgency = 2
    needs_device = True
    task: str = fields.text(_MAX_TASK_CHARACTERS, least=1)
    half1: str = fields.text(_MAX_TASK_CHARACTERS, least=1)
    half2: str = fields.text(_MAX_TASK_CHARACTERS, least=1)


class JobTask(ToWorkerFrame):
    """Run a job of the job schema."""

    type = "job"
    urgency = 4
    task: str = fields.text(_MAX_TASK_CHARACTERS, least=1)
    job_id: str = fields.text(200, default="")
    spec: dict[str, Any] = fields.table()


class UrgentJobTask(JobTask):
    """Run a job that somebody waits for; one that nobody waits for gives way to it, as both do to calls."""

    type = "urgent_job"
    urgency = 3
    needs_device = True


class CancelTask(ToWorkerFrame):
    """Give a task up at its next step, or at once where it has not begun."""

    type = "cancel"
    urgency = 0
    task: str = fields.text(_MAX_TASK_CHARACTERS)


class ForgetTask(ToWorkerFrame):
    """Drop what is kept of a task."""

    type = "forget"
    urgency = 0
    task: str = fields.text(_MAX_TASK_CHARACTERS)


class PrepareSession(ExpectedRefinement, ToWorkerFrame):
    """Get ready for a refinement before its first call."""

    type = "prepare"
    urgency = 1
    session: str = fields.text(_MAX_SESSION_CHARACTERS, least=1)


class ReleaseSession(ToWorkerFrame):
    """Drop a refinement's warm state."""

    type = "release"
    urgency = 1
    session: str = fields.text(_MAX_SESSION_CHARACTERS)


class LeaveDevice(ToWorkerFrame):
    """Keep nothing on the device, and begin and go on with nothing there until `ComeBack`."""

    type = "leave_device"
    urgency = 1
    needs_device = True


class ComeBack(ToWorkerFrame):
    """Go on with what `LeaveDevice` interrupted; sent only after `DeviceLeft`."""

    type = "come_back"
    urgency = 0


class StopWorker(ToWorkerFrame):
    """End the process."""

    type = "stop"
    urgency = 0


# ---- from the worker


class WorkerReady(TypedFrame):
    """The worker has started; `device_name` is for people, `start_s` how long it took in seconds."""

    type = "ready"
    pid: int | None = fields.whole(0, 2**31 - 1, default=None)
    device: str = fields.line(default="", limit=200)
    device_name: str = fields.line(default="", limit=200)
    start_s: float = fields.number(0, default=0.0)


class WorkerHeartbeat(TypedFrame):
    """The worker is alive, with so much resident memory.

    Attributes
    ----------
    still_s
        For how many seconds its main thread has neither ended a step nor computed; 0 where it has nothing to do.
    still_task
        Whose step that is.
    """

    type = "heartbeat"
    rss_bytes: int | None = fields.whole(0, 2**63 - 1, default=None)
    still_s: float = fields.number(0, default=0.0)
    still_task: str = fields.text(_MAX_TASK_CHARACTERS, default="")


class TaskWord(TypedFrame):
    """What a worker says of a task.

    Attributes
    ----------
    ends_task
        Whether the worker is done with the task and keeps nothing of it.
    """

    ends_task: ClassVar[bool] = False
    task: str = fields.text(_MAX_TASK_CHARACTERS)


class TaskProgress(TaskWord):
    """What is being done for a task."""

    type = "progress"
    text: str = fields.line(default="")
    fraction: float | None = fields.fraction(default=None)


class StandardMade(TaskWord):
    """A half's standard map is in its file.

    Attributes
    ----------
    due
        Whether a correction is due; else `code` and `line` say why not.
    resolution_A
        Where RELION's half-maps stop agreeing, for the records.
    report
        The refinement's page so far, written where the hook made room for it.
    wait_partner_s, deadline_s
        From the call's options: how long to wait for the other half, and how long the correction may take.
    """

    type = "standard"
    half: int = fields.whole(0, 2)
    size: int = fields.whole(0, 2**63 - 1)
    crc32: int = fields.whole(0, 2**32 - 1)
    seconds: float = fields.number(0, default=0.0)
    style: str = fields.text(32, default="")
    due: bool = fields.flag()
    code: AnyCode | None = fields.code(default=None)
    line: str = fields.line(default="")
    resolution_A: float | None = fields.figure(default=None)
    report: WrittenFile | None = fields.record(WrittenFile, default=None, omitted=True)
    wait_partner_s: float | None = fields.number(0, default=None)
    deadline_s: float | None = fields.number(0, default=None)


class CorrectedMade(TaskWord):
    """Both corrected maps are in their files; `maps` names each by its half, "1" and "2"."""

    type = "corrected"
    ends_task = True
    maps: dict[str, WrittenFile] = fields.records(WrittenFile)
    line: str = fields.line(default="")
    session: WrittenFile | None = fields.record(WrittenFile, default=None)
    metrics: dict[str, Any] = fields.table(default={})


class JobDone(TaskWord):
    """A job has ended well."""

    type = "done"
    ends_task = True
    result: dict[str, Any] = fields.table(default={})


class TaskFailed(TaskWord):
    """A task has failed, or was cancelled."""

    type = "failed"
    ends_task = True
    code: AnyCode = fields.code(default=Code.FAILED)
    text: str = fields.line(default="")


class TaskForgotten(TaskWord):
    """Nothing is kept of a task any more."""

    type = "forgotten"


class SessionPrepared(TypedFrame):
    """A refinement's first call finds a worker that is ready for it."""

    type = "prepared"
    session: str = fields.text(_MAX_SESSION_CHARACTERS)


class DeviceLeft(TypedFrame):
    """Nothing of this worker is on the device."""

    type = "device_left"


class SessionReleased(TypedFrame):
    """A refinement's warm state is gone."""

    type = "released"
    session: str = fields.text(_MAX_SESSION_CHARACTERS)


Work = HalfTask | CorrectTask | JobTask | PrepareSession
"""What a task of the daemon's pool asks for."""
ToWorker = Work | CancelTask | ForgetTask | ReleaseSession | LeaveDevice | ComeBack | StopWorker
TO_WORKER = Family[ToWorker](
    "a daemon does not send '{}' to a worker",
    HalfTask,
    CorrectTask,
    JobTask,
    UrgentJobTask,
    CancelTask,
    ForgetTask,
    PrepareSession,
    ReleaseSession,
    LeaveDevice,
    ComeBack,
    StopWorker,
)
TaskSaying = TaskProgress | StandardMade | CorrectedMade | JobDone | TaskFailed | TaskForgotten
FromWorker = WorkerReady | WorkerHeartbeat | TaskSaying | SessionPrepared | SessionReleased | DeviceLeft
FROM_WORKER = Family[FromWorker](
    "a worker does not send '{}'",
    WorkerReady,
    WorkerHeartbeat,
    TaskProgress,
    StandardMade,
    CorrectedMade,
    JobDone,
    TaskFailed,
    TaskForgotten,
    SessionPrepared,
    SessionReleased,
    DeviceLeft,
)
