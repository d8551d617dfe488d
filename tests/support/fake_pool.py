"""Stand-ins for what sessions and jobs talk to: a pool without processes, a hook without a socket, a clock by hand."""

from __future__ import annotations

import gc
import os

from cryobridge.bridge.pool.place import Task
from cryobridge.schemas.codes import Code
from cryobridge.schemas.frames import TypedFrame
from cryobridge.schemas.wire import Frame, Message
from cryobridge.schemas.worker_messages import FROM_WORKER, PrepareSession


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakePool:
    """Keeps tasks as a worker would; the test answers for the worker."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.kept: dict[str, Task] = {}
        self.released: list[str] = []
        self.prepared: list[str] = []
        self.heard = True
        self.refuse: str | None = None

    def submit(self, task: Task) -> None:
        if self.refuse:
            task.close_fds()
            task.owner.task_lost(task, Code.WORKER_DIED, self.refuse)
            return
        task.worker = "worker-0"
        task.busy = True
        task.close_fds()
        self.tasks[task.id] = task

    def submit_to(self, task: Task, worker_name: str) -> None:
        assert worker_name == "worker-0"
        self.submit(task)

    def cancel(self, task: Task, *, detach: bool = True) -> None:
        self.kept.pop(task.id, None)
        if detach:
            task.owner = None
            self.tasks.pop(task.id, None)

    def forget(self, task: Task) -> None:
        self.cancel(task)

    def prepare(self, frame: PrepareSession) -> None:
        self.prepared.append(frame.session)

    def release(self, session: str) -> None:
        self.released.append(session)

    def is_heard(self, task: Task) -> bool:
        return self.heard

    # ---- the test in the worker's place

    def standard(self, task: Task, *, due: bool = True, **more) -> None:
        del self.tasks[task.id]
        self.kept[task.id] = task
        task.busy = False
        fields = {"code": "" if due else "not_due", "line": "" if due else "too early", **more}
        made = {"half": task.frame.half, "size": 10, "crc32": 1, "seconds": 0.1}
        self._say(task, "standard", **made, due=due, **fields)

    def corrected(self, task: Task, **more) -> None:
        del self.tasks[task.id]
        maps = {"1": {"size": 10, "crc32": 11}, "2": {"size": 10, "crc32": 12}}
        self._say(task, "corrected", maps=maps, line="fine", **more)

    def failed(self, task: Task, code: str = "oom", text: str = "no memory") -> None:
        del self.tasks[task.id]
        self._say(task, "failed", code=code, text=text)

    def _say(self, task: Task, kind: str, **fields) -> None:
        """What a worker sends, as the daemon decodes it."""
        task.owner.task_frame(task, FROM_WORKER.decode({"type": kind, "task": task.id, **fields}))

    def die(self) -> None:
        lost = [*self.tasks.values(), *self.kept.values()]
        self.tasks.clear()
        self.kept.clear()
        for task in lost:
            if task.owner is not None:
                task.owner.task_lost(task, Code.WORKER_DIED, "the worker was ended by SIGKILL")

    def only(self, kind: str) -> Task:
        (task,) = [task for task in self.tasks.values() if task.frame.type == kind]
        return task

    def half(self, number: int) -> Task:
        (task,) = [task for task in self.tasks.values() if getattr(task.frame, "half", None) == number]
        return task


class FakeHook:
    """A hook's connection: remembers what it was sent."""

    def __init__(self, halves: list[int], uid: int | None = None) -> None:
        self.halves = halves
        self.uid = os.getuid() if uid is None else uid
        self.pid = os.getpid()
        self.last_sent = 0.0
        self.sent: list[Message] = []

    def send(self, frame: TypedFrame) -> None:
        self.sent.append(frame.as_message())

    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    def terminal(self) -> list[Message]:
        return [message for message in self.sent if message["type"] in ("answer", "failed", "commit")]

    def last(self, kind: str) -> Message:
        return next(message for message in reversed(self.sent) if message["type"] == kind)


def call_frame(halves: list[int], iteration: int = 5, root: str = "run", number: int = 1, **more) -> Frame:
    """A call with real descriptors."""
    names = [f"half{half}.{name}" for half in halves for name in ("star", "data_real", "standard", "corrected")]
    names.append("mask")
    message = {
        "type": "call",
        "call_id": "c",
        "key": {"job_dir": "/project/job001", "root": root, "iteration": iteration, "kind": "class", "number": number},
        "halves": halves,
        "environment": {"ISONET_ALPHA": "1"},
        "settings": None,
        "fd_names": names,
        **more,
    }
    return Frame(message, [os.open(os.devnull, os.O_RDONLY) for _ in names])


def open_descriptors() -> int:
    """How many descriptors this process has, without those that only wait for the garbage collector."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class FakeLedger:
    """Remembers what was booked."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[tuple[str, str]] = []

    def begin_iteration(self, iteration) -> None:
        self.begun.append(iteration.id)

    def end_iteration(self, iteration, verdict) -> None:
        if iteration.id in self.begun:
            self.ended.append((iteration.id, verdict.code))
