"""A SLURM in memory for tests of what follows jobs: programs that answer at once, a clock that tests move, a worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryobridge.bridge.pool.place import Task
from cryobridge.bridge.pool.scheduler import Priority
from cryobridge.bridge.slurm.commands import Ran, SlurmCommands
from cryobridge.bridge.slurm.file_thread import FileThread
from cryobridge.bridge.slurm.following import ClusterSurroundings, Following
from cryobridge.bridge.slurm.queue_view import QueueView
from cryobridge.bridge.slurm.spool import Spool
from cryobridge.schemas.slurm import SlurmConfig
from cryobridge.schemas.spool import (
    CLAIM_FILE,
    FAILURE_FILE,
    HEARTBEAT_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    SlurmClaim,
    SpooledFailure,
    SpooledProgress,
    SpooledResult,
    as_spooled,
)
from cryobridge.schemas.worker_messages import JobDone, JobTask, TaskFailed, TaskProgress

from .fake_pool import Clock

SPEC = {"schema": "cryobridge/job/1", "kind": "check", "output": "/tmp/out", "run": {"executor": "slurm"}}


@dataclass
class FakeSlurm:
    """`jobs`: state, name and spool folder of each; `broken`: what the next programs say instead of working."""

    jobs: dict[int, list[Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: dict[str, list[object]] = field(default_factory=dict)
    lose_answer: bool = False

    async def run(self, words: Sequence[str], folder: Path, limit_s: float) -> Ran:
        program = words[0]
        self.asked.append(program)
        if self.broken.get(program):
            said = self.broken[program].pop(0)
            if isinstance(said, BaseException):
                raise said
            return Ran(1, "", str(said))
        return getattr(self, f"_{program}")(words)

    def _sbatch(self, words: Sequence[str]) -> Ran:
        script = Path(words[-1])
        name = re.search(r"--job-name=(\S+)", script.read_text())
        number = 100 + len(self.jobs)
        self.jobs[number] = ["PENDING", name[1], script.parent]
        if self.lose_answer:
            self.lose_answer = False
            raise TimeoutError
        return Ran(0, f"{number}\n", "")

    def _squeue(self, _words: Sequence[str]) -> Ran:
        return Ran(0, "".join(f"{n}|{state}|n1|{name}|None\n" for n, (state, name, _) in self.jobs.items()), "")

    def _scancel(self, words: Sequence[str]) -> Ran:
        self.jobs[int(words[1])][0] = "CANCELLED"
        return Ran(0, "", "")

    def _sacct(self, _words: Sequence[str]) -> Ran:
        return Ran(1, "", "Slurm accounting storage is disabled")

    # ---- the worker on the node

    def begin(self, number: int, claim: int | None = None) -> None:
        job = self.jobs[number]
        job[0] = "RUNNING"
        (job[2] / CLAIM_FILE).write_bytes(as_spooled(SlurmClaim(number=claim or number, host="n1", pid=1)))

    def beat(self, number: int, text: str) -> None:
        (self.jobs[number][2] / HEARTBEAT_FILE).write_text(text)

    def say(self, number: int, text: str, fraction: float | None = None) -> None:
        (self.jobs[number][2] / PROGRESS_FILE).write_bytes(as_spooled(SpooledProgress(text=text, fraction=fraction)))

    def end(self, number: int, failure: tuple[str, str] | None = None) -> None:
        job = self.jobs[number]
        job[0] = "COMPLETED"
        if failure is None:
            (job[2] / RESULT_FILE).write_bytes(as_spooled(SpooledResult(result={"kind": "check"})))
        else:
            (job[2] / FAILURE_FILE).write_bytes(as_spooled(SpooledFailure(code=failure[0], text=failure[1])))


class TaskWitness:
    """Owns a task, and notes what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.end: tuple[str, str] | None = None

    def task_frame(self, task: Task, frame: object) -> None:
        if isinstance(frame, TaskProgress):
            self.said.append(frame.text)
        elif isinstance(frame, JobDone):
            self.end = ("done", "")
        elif isinstance(frame, TaskFailed):
            self.end = (f"failed {frame.code}", frame.text)

    def task_lost(self, task: Task, code: object, text: str) -> None:
        self.end = (f"lost {code}", text)


class NeverEndsError(Exception):
    """A job was followed for longer than any test wants."""


class Followed:
    """A task that is followed; `plan` says what happens on the cluster, by the number of looks at it."""

    def __init__(self, root: Path, slurm: FakeSlurm, attempt: str = "job-ab-0", **config: Any) -> None:
        self.slurm = slurm
        self.clock = Clock()
        self.witness = TaskWitness()
        frame = JobTask(task=attempt, job_id="ab", spec=SPEC)
        self.task = Task(attempt, frame, self.witness, Priority.BATCH)
        settings = SlurmConfig(poll_s=1.0, **config)
        commands = SlurmCommands(settings, slurm.run)
        self.spool = Spool(root, "here")
        self._plan: dict[int, Callable[[], object]] = {}
        self.looks = 0
        queue = QueueView(commands, settings.poll_s, self.clock)
        self.around = ClusterSurroundings(settings, commands, queue, self.spool, FileThread(), self.clock, self._pause)
        self.following = Following(self.task, frame, self.around)

    async def run(self, plan: dict[int, Callable[[], object]]) -> tuple[str, str] | None:
        self._plan = plan
        await self.following.run()
        return self.witness.end

    async def _pause(self, seconds: float) -> None:
        self.clock.now += seconds
        self.looks += 1
        if self.looks > 1000:
            raise NeverEndsError
        self._plan.get(self.looks, lambda: None)()
