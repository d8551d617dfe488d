"""One iteration: its halves from their calls to exactly one terminal frame each, the same choice for both.

    computing -> standard map sent -> (not due: answer) | wait for the other half -> correct -> both verify -> commit

Whatever fails on the way ends as "answer: the standard map" for both halves, with a code and a line. No sockets,
processes or clocks of its own: links, pool and time are given, so that tests can play any history.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.frames import TypedFrame
from cryobridge.schemas.iterations import IterationFigures
from cryobridge.schemas.messages import (
    Answer,
    CallFailed,
    CallFrame,
    CallProgress,
    Commit,
    CorrectedReady,
    StandardReady,
    Verified,
    Waiting,
)
from cryobridge.schemas.worker_messages import (
    CorrectedMade,
    CorrectTask,
    HalfTask,
    StandardMade,
    TaskFailed,
    TaskProgress,
    TaskSaying,
)

from ..pool.place import Task
from ..pool.scheduler import Priority
from .call import CallKey

WAITING_TOLD_EVERY_S = 10.0
SHORT_ID = 8
"""So much of an iteration's id stands in RELION's log; 'cryobridge logs' finds the iteration by it."""


class Link(Protocol):
    """A hook's connection, as far as an iteration needs it."""

    def send(self, frame: TypedFrame) -> None:
        """Queue a frame; never blocks, does nothing when the hook is gone."""


class Workers(Protocol):
    """The part of `bridge.pool.pool.Pool` that an iteration needs."""

    def submit(self, task: Task) -> None:
        """Take a task and its descriptors over."""

    def submit_to(self, task: Task, worker_name: str) -> None:
        """Send a task to a given worker."""

    def cancel(self, task: Task) -> None:
        """Give a task up silently."""

    def forget(self, task: Task) -> None:
        """Drop what the worker keeps of a task."""


class HalfState(StrEnum):
    """Where a half is."""

    COMPUTING = "computing"  # its standard map is being made
    READY = "ready"  # the standard map is with the hook; a correction is due
    CORRECTING = "correcting"
    VERIFYING = "verifying"
    DONE = "done"  # its terminal frame is out, or its hook is gone


@dataclass(eq=False)
class WaitingHalf:
    """One half of an iteration and who waits for it."""

    number: int
    link: Link
    task: Task
    deadline: float
    state: HalfState = HalfState.COMPUTING
    has_standard: bool = False
    deadline_s: float | None = None
    """For the correction, from the options of this call."""
    own: Verdict | None = None
    """Why this half by itself is not to be corrected."""


@dataclass(frozen=True)
class Verdict:
    """Why the iteration ends with the standard map, or that it was corrected."""

    code: AnyCode
    line: str

    @property
    def corrected(self) -> bool:
        """Whether both halves use the corrected map."""
        return self.code == Code.CORRECTED

    @property
    def failed(self) -> bool:
        """Whether a correction was wanted and could not be had; else the standard map was as planned."""
        return self.code.is_failure


@dataclass(eq=False)
class Iteration:
    """The halves of one iteration; single-threaded.

    Parameters
    ----------
    key
        What its calls have in common.
    wanted
        Which halves belong to it: {0}, or {1, 2}.
    on_verdict
        Called once, when it is decided how the iteration ends.
    """

    key: CallKey
    wanted: frozenset[int]
    workers: Workers
    deadlines: Deadlines
    clock: Callable[[], float]
    on_verdict: Callable[[Iteration, Verdict], None]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    halves: dict[int, WaitingHalf] = field(default_factory=dict)
    verdict: Verdict | None = None
    joint: Task | None = None
    deadline: float | None = None
    """For what the iteration as a whole waits for: the other half, the correction, the verification."""
    ticket: str = ""
    line: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    verified: set[int] = field(default_factory=set)
    touched_at: float = 0.0
    said: set[str] = field(default_factory=set)
    """What has been told to one half, and need not stand in RELION's log a second time."""
    waiting_since: float = 0.0
    waiting_told_at: float | None = None

    # ---- what happens to it

    def join(self, call: CallFrame, number: int, link: Link, names: list[str], fds: list[int]) -> None:
        """Take half `number` of a call in, with the descriptors that `names` names; takes those over."""
        now = self.touched_at = self.clock()
        frame = HalfTask(
            task=f"{self.id[:12]}-{number}-{uuid.uuid4().hex[:8]}",
            session=self.key.session,
            iteration=call.key.iteration,
            half=number,
            number=call.key.number,
            kind=call.key.kind,
            environment=call.environment,
            settings=call.settings,
            hook_settings=call.hook_settings,
            fd_names=tuple(names),
        )
        task = Task(frame.task, frame, self, Priority.CALL, session=self.key.session, fds=fds, uid=self.key.uid)
        half = WaitingHalf(number, link, task, deadline=now + self.deadlines.standard_s)
        self.halves[number] = half
        if len(self.halves) == len(self.wanted):
            self.deadline = None  # nobody is missing any more
        self.workers.submit(task)
        self._tell_waiting(now)

    def task_frame(self, task: Task, frame: TaskSaying) -> None:
        """A worker's word on one of the tasks (`TaskOwner`)."""
        self.touched_at = self.clock()
        half = self._half_of(task)
        if isinstance(frame, TaskProgress):
            self._progress(half, frame)
        elif isinstance(frame, TaskFailed):
            self.task_lost(task, frame.code, frame.text)
        elif half is not None and isinstance(frame, StandardMade) and half.state is HalfState.COMPUTING:
            self._standard(half, frame)
        elif half is None and isinstance(frame, CorrectedMade) and self.verdict is None:
            self._corrected(frame)

    def task_lost(self, task: Task, code: AnyCode, text: str) -> None:
        """A task failed or its worker is gone (`TaskOwner`)."""
        half = self._half_of(task)
        if half is not None and half.state is HalfState.COMPUTING:
            half.state = HalfState.DONE
            half.link.send(CallFailed(half=half.number, code=code, text=text, call=self.short_id))
            self.fail(code, f"the other half failed: {text}" if len(self.wanted) > 1 else text)
        else:
            self.fail(code, text)

    def verify(self, link: Link, frame: Verified) -> None:
        """A hook has checked its corrected map."""
        half = self.halves.get(frame.half)
        if half is None or half.link is not link or half.state is not HalfState.VERIFYING:
            return
        if frame.ticket != self.ticket:
            return
        self.verified.add(frame.half)
        if self.verified >= self.wanted:
            for link in dict.fromkeys(half.link for half in self.halves.values()):
                link.send(Commit(ticket=self.ticket))
            for half in self.halves.values():
                half.state = HalfState.DONE
            self.verdict, self.deadline = Verdict(Code.CORRECTED, self.line), None
            self._tidy()
            self.on_verdict(self, self.verdict)

    def hook_gone(self, link: Link) -> None:
        """A hook has left; before the commit that means the standard map for the other half."""
        gone = [half for half in self.halves.values() if half.link is link and half.state is not HalfState.DONE]
        for half in gone:
            half.state = HalfState.DONE
        if gone:
            left = any(half.state is not HalfState.DONE for half in self.halves.values())
            if left:
                self.fail(Code.PARTNER_MISSING, "the hook of the other half has gone")
            else:
                self.fail(Code.CANCELLED, "the hook has gone")

    def tick(self, now: float) -> None:
        """Act on deadlines that have passed."""
        self._tell_waiting(now)
        for half in list(self.halves.values()):
            if half.state is HalfState.COMPUTING and now >= half.deadline:
                self.workers.cancel(half.task)
                self.task_lost(half.task, Code.TIMEOUT, f"no standard map after {self.deadlines.standard_s:.0f} s")
        if self.deadline is not None and now >= self.deadline and self.verdict is None:
            if self.joint is not None:
                self.fail(Code.TIMEOUT, "the correction took longer than its deadline")
            elif self.ticket:
                self.fail(Code.PARTNER_MISSING, "the other half did not confirm its corrected map in time")
            else:
                missing = " and ".join(str(number) for number in sorted(self.wanted - self.halves.keys()))
                self.fail(Code.PARTNER_MISSING, f"half {missing} did not call in time")

    def fail(self, code: AnyCode, line: str) -> None:
        """The standard map it is, for every half that is not finished; a half still computing hears it later."""
        new = self.verdict is None
        if new:
            self.verdict, self.deadline = Verdict(code, line), None
            if self.joint is not None:
                self.workers.cancel(self.joint)
                self.joint = None
        for half in self.halves.values():
            if half.has_standard and half.state is not HalfState.DONE:
                self._answer(half)
        self._tidy()
        if new and self.verdict is not None:
            # Last, because it is written to disk, and RELION waits for the answers.
            self.on_verdict(self, self.verdict)

    @property
    def short_id(self) -> str:
        """What RELION's log calls it."""
        return self.id[:SHORT_ID]

    @property
    def over(self) -> bool:
        """Whether every half that came has had its terminal frame and none is missing."""
        return self.quiet and self.halves.keys() >= self.wanted

    @property
    def quiet(self) -> bool:
        """Whether no hook waits for anything now."""
        return all(half.state is HalfState.DONE for half in self.halves.values())

    # ---- inside

    def _half_of(self, task: Task) -> WaitingHalf | None:
        return next((half for half in self.halves.values() if half.task is task), None)

    def _progress(self, half: WaitingHalf | None, told: TaskProgress) -> None:
        """Pass on what a worker does: what concerns both halves to one of them, for they write into one log."""
        if told.fraction is None:
            if told.text in self.said:
                return
            self.said.add(told.text)
        self._tell(half, CallProgress(text=told.text, fraction=told.fraction))

    def _tell(self, half: WaitingHalf | None, frame: CallProgress) -> None:
        listening = [one for one in self.halves.values() if one.state is not HalfState.DONE and half in (None, one)]
        for one in sorted(listening, key=lambda one: one.number)[:1]:
            one.link.send(frame)

    def _tell_waiting(self, now: float) -> None:
        """Say at once, and then now and then, that a call waits for a worker, which loads torch before all else."""
        waits = [
            half for half in self.halves.values() if half.state is HalfState.COMPUTING and half.task.worker is None
        ]
        if not waits:
            return
        if self.waiting_told_at is None:
            self.waiting_since = self.waiting_told_at = now
            self._tell(waits[0], CallProgress(text="waiting for a worker; one that starts loads torch first"))
        elif now - self.waiting_told_at >= WAITING_TOLD_EVERY_S:
            self.waiting_told_at = now
            self._tell(waits[0], CallProgress(text=f"still waiting for a worker ({now - self.waiting_since:.0f} s)"))

    def _standard(self, half: WaitingHalf, made: StandardMade) -> None:
        half.has_standard = True
        half.state = HalfState.READY
        half.deadline_s = made.deadline_s or None
        half.link.send(
            StandardReady(
                half=half.number,
                size=made.size,
                crc32=made.crc32,
                seconds=made.seconds,
                resolution_A=made.resolution_A,
                report=made.report,
                call=self.short_id,
            )
        )
        if not made.due or self.wanted == {0}:
            half.own = Verdict(made.code or Code.NOT_DUE, made.line)
        if self.verdict is not None:
            self._answer(half)
            self._tidy()
        elif half.own is not None:
            self.fail(half.own.code, half.own.line)
        elif all(one.state is HalfState.READY for one in self.halves.values()) and self._complete():
            self._correct()
        elif not self._complete():
            # Nobody keeps a place for longer than a correction may take, whatever his settings say.
            self.deadline = self.clock() + min(made.wait_partner_s or self.deadlines.partner_s, self._longest_s(half))
            half.link.send(Waiting(half=half.number))

    def _longest_s(self, half: WaitingHalf) -> float:
        return max(half.deadline_s or 0.0, self.deadlines.correct_s)

    def _complete(self) -> bool:
        return self.halves.keys() >= self.wanted

    def _correct(self) -> None:
        first, second = (self.halves[number] for number in (1, 2))
        if first.task.worker is None or first.task.worker != second.task.worker:
            self.fail(Code.WORKER_DIED, "the two standard maps are not with the same worker any more")
            return
        limits = [half.deadline_s for half in (first, second) if half.deadline_s is not None]
        # The worker gives up by itself at the users' deadline; ours is for one that does not.
        limit_s = min(limits) * 1.1 + 5.0 if limits else self.deadlines.correct_s
        self.deadline = self.clock() + limit_s
        frame = CorrectTask(task=f"{self.id[:12]}-joint", half1=first.task.id, half2=second.task.id)
        self.joint = Task(frame.task, frame, owner=self, priority=Priority.CALL, session=self.key.session)
        for half in (first, second):
            half.state = HalfState.CORRECTING
        self.workers.submit_to(self.joint, first.task.worker)

    def _corrected(self, made: CorrectedMade) -> None:
        self.joint = None
        if not {str(number) for number in self.wanted} <= made.maps.keys():
            self.fail(Code.BAD_RESULT, "the worker's answer does not name both maps")
            return
        self.ticket = uuid.uuid4().hex
        self.line = made.line
        self.metrics = made.metrics
        figures = IterationFigures.of_metrics(made.metrics)
        self.deadline = self.clock() + self.deadlines.verify_s
        for half in self.halves.values():
            half.state = HalfState.VERIFYING
            written = made.maps[str(half.number)]
            half.link.send(
                CorrectedReady(
                    half=half.number,
                    size=written.size,
                    crc32=written.crc32,
                    ticket=self.ticket,
                    line=self.line,
                    session=made.session,
                    figures=figures,
                )
            )

    def _answer(self, half: WaitingHalf) -> None:
        assert self.verdict is not None  # noqa: S101 - only called after the decision
        half.state = HalfState.DONE
        why = half.own or self.verdict
        half.link.send(Answer(half=half.number, code=why.code, line=why.line))

    def _tidy(self) -> None:
        for half in self.halves.values():
            if half.state is HalfState.DONE:
                self.workers.forget(half.task)
