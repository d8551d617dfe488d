"""Refinements and their iterations: which call belongs to which, and what is kept for how long.

Pairs the halves of an iteration by their key, follows every refinement, and lets its warm state go when its
program has ended. No sockets here: hooks are links, workers are the pool, the store is told what was decided.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from cryobridge.schemas.bounds import MAX_PROGRAMS_PER_USER
from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.frames import FrameInvalid
from cryobridge.schemas.messages import CALLS, Bye, CallFailed, Heartbeat, Verified
from cryobridge.schemas.wire import HEARTBEAT_S, Frame
from cryobridge.schemas.worker_messages import PrepareSession

from ..pool.place import Task
from ..room import share
from .call import CallKey, duplicate
from .fallback import Fallback
from .iteration import Iteration, Link, Verdict, Workers
from .program import HeldProgram, Refinement, RefinementProgram, find_refiner

log = logging.getLogger(__name__)

MEMO_S = 3600.0
"""For so long a half that comes late learns what was decided without it."""
MAX_MEMOS = 512
MAX_REFINEMENTS_OF_A_USER = 128
"""Of more, those that called longest ago are let go; their states are on disk."""
MAX_CALLS_OF_A_LINK = 8
"""A hook makes one."""
RELEASE_AFTER_S = 60.0
"""So long after its program's end a refinement's warm state goes: `--continue` often follows at once."""
_LOOK_EVERY_S = 10.0


class HookLink(Link, Protocol):
    """A hook's connection."""

    @property
    def uid(self) -> int:
        """Its user, as the kernel knows it."""

    @property
    def pid(self) -> int:
        """Its process."""

    @property
    def last_sent(self) -> float:
        """When it was last sent something."""


class SessionWorkers(Workers, Protocol):
    """The part of `bridge.pool.pool.Pool` that is needed here."""

    def prepare(self, frame: PrepareSession) -> None:
        """Let a worker get ready for a session."""

    def release(self, session: str) -> None:
        """Let a worker drop a session's warm state."""

    def is_heard(self, task: Task) -> bool:
        """Whether the task's worker shows signs of life."""


class Ledger(Protocol):
    """Where iterations are booked; must not raise."""

    def begin_iteration(self, iteration: Iteration) -> None:
        """A new iteration."""

    def end_iteration(self, iteration: Iteration, verdict: Verdict) -> None:
        """How it ended."""


class Sessions:
    """All refinements of this daemon.

    Parameters
    ----------
    workers
        The pool.
    ledger
        Told of iterations; see `bridge.refinements.ledger`.
    keep_alive_s
        How long a refinement whose program cannot be seen stays warm after its last call; below 0: for ever.
    clock
        Monotonic seconds.
    find
        How the program behind a hook is found where the hook has not handed it over.
    """

    def __init__(
        self,
        workers: SessionWorkers,
        ledger: Ledger,
        deadlines: Deadlines,
        clock: Callable[[], float],
        *,
        keep_alive_s: float = -1.0,
        heartbeat_s: float = HEARTBEAT_S,
        find: Callable[[int], RefinementProgram | None] = find_refiner,
    ) -> None:
        self._workers = workers
        self._ledger = ledger
        self._deadlines = deadlines
        self._clock = clock
        self._keep_alive_s = keep_alive_s
        self._heartbeat_s = heartbeat_s
        self._find = find
        self._open: dict[CallKey, Iteration] = {}
        """Iterations that a half may still join."""
        self._all: list[Iteration] = []
        self._links: dict[HookLink, list[Iteration]] = {}
        self._refinements: dict[str, Refinement] = {}
        self._looked_at = clock()
        self.last_call = clock()
        self.last_fallback: Fallback | None = None

    # ---- from the server

    def call(self, link: HookLink, frame: Frame) -> None:
        """A hook's call; takes over the frame's descriptors. A bad call is answered with `failed`."""
        try:
            if len(self._links.get(link, ())) >= MAX_CALLS_OF_A_LINK:
                raise FrameInvalid(f"more than {MAX_CALLS_OF_A_LINK} calls over one connection", Code.REJECTED)
            call = CALLS.decode(frame.message)
            shares = [call.half_fds(half, frame.fds) for half in call.halves]
            copies = iter(duplicate([fd for _, fds in shares for fd in fds]))
            program = HeldProgram.of(call.program_fd(frame.fds))
        except FrameInvalid as error:
            link.send(CallFailed(code=error.code, text=str(error)))
            return
        except OSError as error:
            link.send(CallFailed(code=Code.FAILED, text=f"too many open files in the daemon ({error})"))
            return
        finally:
            frame.close()
        key = CallKey.of(call.key, link.uid)
        self._note_call(link, key, call.halves, program)
        iteration, new = self._iteration_for(key, call.halves)
        log.info(
            "call",
            extra={"job_id": iteration.id, "label": key.label, "halves": list(call.halves), "session": key.session},
        )
        self._links.setdefault(link, []).append(iteration)
        for half, (names, _) in zip(call.halves, shares, strict=True):
            iteration.join(call, half, link, names, list(itertools.islice(copies, len(names))))
        if new:
            # After the work is under way: the disk may be slow.
            self._ledger.begin_iteration(iteration)
            if iteration.verdict is not None:
                self._ledger.end_iteration(iteration, iteration.verdict)

    def verified(self, link: HookLink, frame: Verified) -> None:
        """A hook has checked a corrected map."""
        for iteration in self._links.get(link, []):
            iteration.verify(link, frame)

    def bye(self, link: HookLink, frame: Bye) -> None:
        """A hook says what it used, and leaves."""
        for iteration in self._links.get(link, []):
            log.info("hook left", extra={"job_id": iteration.id, "label": iteration.key.label, "used": frame.used})
        self._leave(link)

    def gone(self, link: HookLink) -> None:
        """A hook's connection ended without a word: whoever kills a hook has mostly killed its RELION too."""
        for iteration in self._links.get(link, []):
            alone = all(half.link is link for half in iteration.halves.values())
            if alone and not iteration.quiet:
                # A later run of the same iteration must not inherit what was decided here.
                self._forget_key(iteration)
        self._leave(link)

    def tick(self, now: float) -> None:
        """Act on deadlines, heartbeats, ended programs, and old memories."""
        for iteration in list(self._all):
            iteration.tick(now)
        for link, iterations in self._links.items():
            self._beat(link, iterations, now)
        self._sweep(now)
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._look_at_refinements(now)

    def fail_all(self, code: AnyCode, line: str) -> None:
        """Give every waiting hook its standard map; those without one are told that there will be none."""
        for iteration in list(self._all):
            for half in iteration.halves.values():
                self._workers.cancel(half.task)
                iteration.task_lost(half.task, code, line)

    # ---- from the watcher and the commands

    def prepare(self, frame: PrepareSession, uid: int) -> None:
        """A refinement was noticed before its first call."""
        now, session = self._clock(), frame.session
        job_dir, _, root = session.rpartition("/")
        refinement = self._refinements.setdefault(
            session, Refinement(session, uid, job_dir, root, time.time(), last_call=now)
        )
        refinement.watched, refinement.ended = True, None
        self._workers.prepare(frame)

    def progress(self, session: str, iteration: int) -> None:
        """A watched refinement has finished an iteration."""
        refinement = self._refinements.get(session)
        if refinement is not None:
            refinement.iteration = max(refinement.iteration, iteration)
            refinement.last_call = self._clock()

    def release(self, session: str) -> bool:
        """Let a refinement's warm state go now; false if there is no such refinement."""
        refinement = self._refinements.pop(session, None)
        if refinement is None:
            return False
        refinement.let_go()
        self._workers.release(session)
        return True

    def owner(self, session: str) -> int | None:
        """The user whose refinement it is."""
        refinement = self._refinements.get(session)
        return None if refinement is None else refinement.uid

    def cancel(self, job_id: str) -> bool:
        """Give both halves of a running iteration their standard map; false if it does not run."""
        for iteration in self._all:
            if iteration.id == job_id and not iteration.quiet:
                iteration.fail(Code.CANCELLED, "cancelled on request")
                return True
        return False

    @property
    def open_calls(self) -> int:
        """Hooks that wait for something."""
        return sum(not self._is_quiet(link) for link in self._links)

    def is_busy_for(self, uid: int, most: int) -> str:
        """Why a user's hook finds no room now, where `most` calls are taken in all; empty if it does."""
        waiting = [link.uid for link in self._links if not self._is_quiet(link)]
        mine = waiting.count(uid)
        room = share(most, len(waiting) - mine)
        return f"{mine} calls of yours are under way, and {len(waiting) - mine} of others" if mine >= room else ""

    def alive(self) -> bool:
        """Whether any refinement's program runs as far as we can see, or any hook waits."""
        return self.open_calls > 0 or any(
            one.refiner is not None and one.ended is None for one in self._refinements.values()
        )

    def snapshot(self) -> list[dict[str, Any]]:
        """What `status` and `ps` show of the refinements."""
        now = self._clock()
        return [one.snapshot(now) for one in self._refinements.values()]

    def running(self) -> list[dict[str, Any]]:
        """The iterations that hooks wait for."""
        return [
            {
                "job_id": one.id,
                "kind": "relion.reconstruct",
                "uid": one.key.uid,
                "session": one.key.session,
                "iteration": one.key.iteration,
                "halves": {str(number): str(half.state) for number, half in sorted(one.halves.items())},
                "state": "running",
                "worker": next((half.task.worker for half in one.halves.values() if half.task.worker), None),
            }
            for one in self._all
            if not one.quiet
        ]

    # ---- inside

    def _iteration_for(self, key: CallKey, halves: tuple[int, ...]) -> tuple[Iteration, bool]:
        single = halves in ((1,), (2,))
        if single:
            known = self._open.get(key)
            if known is not None and halves[0] not in known.halves:
                return known, False
            if known is not None and not known.quiet:
                known.fail(Code.CANCELLED, "the same half of this iteration called again")
        iteration = Iteration(
            key=key,
            wanted=frozenset((1, 2) if single else halves),
            workers=self._workers,
            deadlines=self._deadlines,
            clock=self._clock,
            on_verdict=self._decided,
        )
        if single:
            if known is not None and known.quiet:
                self._drop(known)
            self._open[key] = iteration
        self._all.append(iteration)
        return iteration, True

    def _note_call(self, link: HookLink, key: CallKey, halves: tuple[int, ...], program: HeldProgram | None) -> None:
        now = self.last_call = self._clock()
        refinement = self._refinements.get(key.session)
        if refinement is None:
            refinement = Refinement(key.session, key.uid, key.job_dir, key.root, time.time(), last_call=now)
            self._refinements[key.session] = refinement
            log.info("refinement begins", extra={"session": key.session, "uid": key.uid})
            theirs = sorted(
                (one for one in self._refinements.values() if one.uid == key.uid), key=lambda one: one.last_call
            )
            for oldest in theirs[:-MAX_REFINEMENTS_OF_A_USER]:
                self.release(oldest.session)
        if program is not None and self._held_by(key.uid) >= MAX_PROGRAMS_PER_USER:
            program.close()
            program = None
        refinement.note_program(program, lambda: self._find(link.pid))
        refinement.last_call, refinement.ended = now, None
        refinement.iteration = key.iteration
        refinement.calls += len(halves)

    def _held_by(self, uid: int) -> int:
        return sum(one.uid == uid and isinstance(one.refiner, HeldProgram) for one in self._refinements.values())

    def _decided(self, iteration: Iteration, verdict: Verdict) -> None:
        refinement = self._refinements.get(iteration.key.session)
        if refinement is not None:
            refinement.last_line = verdict.line or verdict.code
            refinement.corrected += verdict.corrected
            refinement.failed += verdict.failed
            refinement.standard += not verdict.corrected
        if verdict.failed:
            key = iteration.key
            self.last_fallback = Fallback(time.time(), key.session, key.uid, key.iteration, verdict.code, verdict.line)
        log.log(
            logging.WARNING if verdict.failed else logging.INFO,
            "iteration decided",
            extra={
                "job_id": iteration.id,
                "label": iteration.key.label,
                "iteration": iteration.key.iteration,
                "code": verdict.code,
                "line": verdict.line,
            },
        )
        self._ledger.end_iteration(iteration, verdict)

    def _leave(self, link: HookLink) -> None:
        for iteration in self._links.pop(link, []):
            iteration.hook_gone(link)

    def _is_quiet(self, link: HookLink) -> bool:
        return all(
            half.state == "done"
            for iteration in self._links[link]
            for half in iteration.halves.values()
            if half.link is link
        )

    def _beat(self, link: HookLink, iterations: list[Iteration], now: float) -> None:
        """Tell a waiting hook that its worker lives; silence when it does not, so that the hook can act."""
        if now - link.last_sent < self._heartbeat_s or self._is_quiet(link):
            return
        tasks = [half.task for one in iterations for half in one.halves.values() if half.link is link]
        if all(self._workers.is_heard(task) for task in tasks):
            link.send(Heartbeat())

    def _sweep(self, now: float) -> None:
        quiet = [one for one in self._all if one.quiet]
        surplus = len(quiet) - MAX_MEMOS
        for index, iteration in enumerate(quiet):
            if iteration.over or index < surplus or now - iteration.touched_at > MEMO_S:
                self._drop(iteration)

    def _drop(self, iteration: Iteration) -> None:
        self._forget_key(iteration)
        if iteration in self._all:
            self._all.remove(iteration)

    def _forget_key(self, iteration: Iteration) -> None:
        if self._open.get(iteration.key) is iteration:
            del self._open[iteration.key]

    def _look_at_refinements(self, now: float) -> None:
        for session, one in list(self._refinements.items()):
            if one.refiner is not None and one.ended is None and not one.refiner.alive():
                one.ended = now
            ended = one.ended is not None and now - one.ended > RELEASE_AFTER_S
            unseen = one.refiner is None and not one.watched
            idle = unseen and 0 <= self._keep_alive_s < now - one.last_call
            if (ended or idle) and not any(it.key.session == session and not it.quiet for it in self._all):
                log.info("refinement released", extra={"session": session, "ended": ended})
                self.release(session)
