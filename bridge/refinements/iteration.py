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

from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.wire import Message

from ..pool.place import Task
from ..pool.scheduler import Priority
from .call import CallKey, HookCall

FAILURES = frozenset(
    {
        *("failed", "input_invalid", "rejected", "timeout", "oom", "worker_died", "bad_result"),
        *("cancelled", "no_daemon", "partner_missing"),
    }
)
"""Codes that say something went wrong; all others say that no correction was to be made."""


class Link(Protocol):
    """A hook's connection, as far as an iteration needs it."""

    def send(self, message: Message) -> None:
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

    code: str
    line: str

    @property
    def corrected(self) -> bool:
        """Whether both halves use the corrected map."""
        return self.code == "corrected"

    @property
    def failed(self) -> bool:
        """Whether a correction was wanted and could not be had; else the standard map was as planned."""
        return self.code in FAILURES


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

    # ---- what happens to it

    def join(self, call: HookCall, number: int, link: Link, fds: list[int]) -> None:
        """Take half `number` of a call in; takes over `fds`, which are those `call.half_fds` names."""
        now = self.touched_at = self.clock()
        names, _ = call.half_fds(number, list(range(len(call.fd_names))))
        task = Task(
            id=f"{self.id[:12]}-{number}-{uuid.uuid4().hex[:8]}",
            message={
                "type": "half",
                "session": call.key.session,
                "iteration": call.key.iteration,
                "half": number,
                "number": call.key.number,
                "kind": call.key.kind,
                "environment": call.environment,
                "settings": call.settings,
                "fd_names": names,
            },
            owner=self,
            priority=Priority.CALL,
            session=call.key.session,
            fds=fds,
        )
        task.message["task"] = task.id
        half = WaitingHalf(number, link, task, deadline=now + self.deadlines.standard_s)
        self.halves[number] = half
        if len(self.halves) == len(self.wanted):
            self.deadline = None  # nobody is missing any more
        self.workers.submit(task)

    def task_frame(self, task: Task, message: Message) -> None:
        """A worker's word on one of the tasks (`TaskOwner`)."""
        kind = message["type"]
        self.touched_at = self.clock()
        half = self._half_of(task)
        if kind == "progress":
            self._progress(half, message)
        elif kind == "failed":
            self.task_lost(task, str(message.get("code", "failed")), str(message.get("text", "")))
        elif half is not None and kind == "standard" and half.state is HalfState.COMPUTING:
            self._standard(half, message)
        elif half is None and kind == "corrected" and self.verdict is None:
            self._corrected(message)

    def task_lost(self, task: Task, code: str, text: str) -> None:
        """A task failed or its worker is gone (`TaskOwner`)."""
        half = self._half_of(task)
        if half is not None and half.state is HalfState.COMPUTING:
            half.state = HalfState.DONE
            half.link.send({"type": "failed", "half": half.number, "code": code, "text": text})
            self.fail(code, f"the other half failed: {text}" if len(self.wanted) > 1 else text)
        else:
            self.fail(code, text)

    def verify(self, link: Link, number: int, ticket: str) -> None:
        """A hook has checked its corrected map."""
        half = self.halves.get(number)
        if half is None or half.link is not link or half.state is not HalfState.VERIFYING or ticket != self.ticket:
            return
        self.verified.add(number)
        if self.verified >= self.wanted:
            for link in dict.fromkeys(half.link for half in self.halves.values()):
                link.send({"type": "commit", "ticket": self.ticket})
            for half in self.halves.values():
                half.state = HalfState.DONE
            self.verdict, self.deadline = Verdict("corrected", self.line), None
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
                self.fail("partner_missing", "the hook of the other half has gone")
            else:
                self.fail("cancelled", "the hook has gone")

    def tick(self, now: float) -> None:
        """Act on deadlines that have passed."""
        for half in list(self.halves.values()):
            if half.state is HalfState.COMPUTING and now >= half.deadline:
                self.workers.cancel(half.task)
                self.task_lost(half.task, "timeout", f"no standard map after {self.deadlines.standard_s:.0f} s")
        if self.deadline is not None and now >= self.deadline and self.verdict is None:
            if self.joint is not None:
                self.fail("timeout", "the correction took longer than its deadline")
            elif self.ticket:
                self.fail("partner_missing", "the other half did not confirm its corrected map in time")
            else:
                missing = " and ".join(str(number) for number in sorted(self.wanted - self.halves.keys()))
                self.fail("partner_missing", f"half {missing} did not call in time")

    def fail(self, code: str, line: str) -> None:
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

    def _progress(self, half: WaitingHalf | None, message: Message) -> None:
        frame = {"type": "progress", "text": str(message.get("text", "")), "fraction": message.get("fraction")}
        receivers = [half] if half is not None else list(self.halves.values())
        for link in dict.fromkeys(one.link for one in receivers if one.state is not HalfState.DONE):
            link.send(frame)

    def _standard(self, half: WaitingHalf, message: Message) -> None:
        half.has_standard = True
        half.state = HalfState.READY
        half.deadline_s = _seconds(message.get("deadline_s"))
        half.link.send(
            {
                "type": "standard",
                "half": half.number,
                "size": message.get("size"),
                "crc32": message.get("crc32"),
                "seconds": message.get("seconds"),
            }
        )
        if message.get("due") is not True or self.wanted == {0}:
            half.own = Verdict(str(message.get("code") or "not_due"), str(message.get("line") or ""))
        if self.verdict is not None:
            self._answer(half)
            self._tidy()
        elif half.own is not None:
            self.fail(half.own.code, half.own.line)
        elif all(one.state is HalfState.READY for one in self.halves.values()) and self._complete():
            self._correct()
        elif not self._complete():
            wait_s = _seconds(message.get("wait_partner_s")) or self.deadlines.partner_s
            self.deadline = self.clock() + wait_s
            half.link.send({"type": "waiting", "half": half.number})

    def _complete(self) -> bool:
        return self.halves.keys() >= self.wanted

    def _correct(self) -> None:
        first, second = (self.halves[number] for number in (1, 2))
        if first.task.worker is None or first.task.worker != second.task.worker:
            self.fail("worker_died", "the two standard maps are not with the same worker any more")
            return
        limits = [half.deadline_s for half in (first, second) if half.deadline_s is not None]
        # The worker gives up by itself at the users' deadline; ours is for one that does not.
        limit_s = min(limits) * 1.1 + 5.0 if limits else self.deadlines.correct_s
        self.deadline = self.clock() + limit_s
        task_id = f"{self.id[:12]}-joint"
        self.joint = Task(
            id=task_id,
            message={"type": "correct", "task": task_id, "half1": first.task.id, "half2": second.task.id},
            owner=self,
            priority=Priority.CALL,
            session=self.key.session,
        )
        for half in (first, second):
            half.state = HalfState.CORRECTING
        self.workers.submit_to(self.joint, first.task.worker)

    def _corrected(self, message: Message) -> None:
        self.joint = None
        maps = message.get("maps")
        if not isinstance(maps, dict) or not all(isinstance(maps.get(str(number)), dict) for number in self.wanted):
            self.fail("bad_result", "the worker's answer does not name both maps")
            return
        self.ticket = uuid.uuid4().hex
        self.line = str(message.get("line", ""))
        metrics = message.get("metrics")
        self.metrics = metrics if isinstance(metrics, dict) else {}
        self.deadline = self.clock() + self.deadlines.verify_s
        for half in self.halves.values():
            half.state = HalfState.VERIFYING
            written = maps[str(half.number)]
            half.link.send(
                {
                    "type": "corrected",
                    "half": half.number,
                    "size": written.get("size"),
                    "crc32": written.get("crc32"),
                    "ticket": self.ticket,
                    "line": self.line,
                    "session": message.get("session"),
                }
            )

    def _answer(self, half: WaitingHalf) -> None:
        assert self.verdict is not None  # noqa: S101 - only called after the decision
        half.state = HalfState.DONE
        why = half.own or self.verdict
        half.link.send({"type": "answer", "half": half.number, "code": why.code, "line": why.line})

    def _tidy(self) -> None:
        for half in self.halves.values():
            if half.state is HalfState.DONE:
                self.workers.forget(half.task)


def _seconds(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    return None
