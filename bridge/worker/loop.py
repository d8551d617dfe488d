"""The worker's life: take tasks from the daemon, the urgent ones first, and say that it is alive.

Three threads: a reader that only queues, a beat that only says "alive", and the main thread that computes.
Long work comes as generators of steps; between two steps whatever is more urgent is served, so that no call
of RELION waits behind a training. Knows nothing of maps.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import psutil

from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.errors import Cancelled, CryobridgeError
from cryobridge.schemas.frames import FrameInvalid
from cryobridge.schemas.wire import Channel, ClosedError, Frame
from cryobridge.schemas.worker_messages import (
    TO_WORKER,
    CancelTask,
    ComeBack,
    CorrectTask,
    FromWorker,
    HalfTask,
    JobTask,
    LeaveDevice,
    PrepareSession,
    ReleaseSession,
    StopWorker,
    TaskFailed,
    TaskProgress,
    ToWorker,
    WorkerHeartbeat,
    WorkerReady,
)

from .memory import is_out_of_memory
from .soundness import EXIT_UNSOUND, broke_off_an_import
from .stillness import Stillness

log = logging.getLogger(__name__)
T = TypeVar("T")

BEAT_S = 2.0
PROGRESS_EVERY_S = 10.0
ROOM_PAUSE_S = 2.0
"""So long parked work waits before it asks again whether the device has room for it."""
_WORK = (HalfTask, CorrectTask, JobTask)
_NO_TASK = (StopWorker, PrepareSession, ReleaseSession, LeaveDevice, ComeBack)


@dataclass(frozen=True)
class Progress:
    """What a step of long work has to say: a line, and how much is done (0 to 1) where that is known."""

    text: str
    fraction: float | None = None


Steps = Generator[Progress | None, None, FromWorker]
"""Long work: yields between steps, returns its final reply."""


def scaled(
    first: float, last: float, steps: Generator[Progress | None, None, T]
) -> Generator[Progress | None, None, T]:
    """The same steps, their progress from 0 to 1 shown as from `first` to `last` of the whole."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if progress is not None and progress.fraction is not None:
            progress = Progress(progress.text, first + (last - first) * progress.fraction)
        yield progress


@dataclass
class Received:
    """A frame from the daemon with the descriptors that came with it, which are closed when it has been handled."""

    frame: ToWorker
    carrier: Frame

    @property
    def fds(self) -> list[int]:
        """The descriptors, in the order of the frame's names."""
        return self.carrier.fds

    @property
    def task(self) -> str:
        """The task that it is about; empty where it is about none."""
        return "" if isinstance(self.frame, _NO_TASK) else self.frame.task


class FrameQueue:
    """Frames from the daemon, most urgent first, in order of arrival within one urgency."""

    def __init__(self) -> None:
        ranks = {frame.urgency for frame in TO_WORKER.frames.values()}
        self._queues: dict[int, deque[Received]] = {rank: deque() for rank in sorted(ranks)}
        self._changed = threading.Condition()

    def put(self, received: Received) -> None:
        """Queue a frame (reader thread)."""
        with self._changed:
            self._queues[received.frame.urgency].append(received)
            self._changed.notify()

    def drop(self, task: str) -> Received | None:
        """Take out the frame of a task that nobody has taken yet; None where there is none."""
        with self._changed:
            for queue in self._queues.values():
                for waiting in queue:
                    if waiting.task == task and isinstance(waiting.frame, _WORK):
                        queue.remove(waiting)
                        return waiting
        return None

    def take(self, below: int | None = None, *, wait: bool = True, at_most_s: float | None = None) -> Received | None:
        """Return the next frame of urgency under `below` (any when None); None when there is none to come in time."""
        with self._changed:
            while True:
                for rank, queue in self._queues.items():
                    if (below is None or rank < below) and queue:
                        return queue.popleft()
                if not wait or not self._changed.wait(at_most_s):
                    return None


class Space(Protocol):
    """What work holds on the device, and can be cleared away while something more urgent needs it."""

    def park(self) -> None:
        """Move it to the host."""

    def unpark(self) -> None:
        """Move back what was parked last; where there is no room, raise an out-of-memory error and change nothing."""

    def abandon(self) -> None:
        """Let go what was parked last."""


class WorkerLoop:
    """Serves one daemon over one channel until told to stop or until the daemon is gone.

    Parameters
    ----------
    channel
        The connection to the daemon.
    handlers
        For each frame type but `stop`, `cancel` and `come_back`: a function of the frame and its descriptors that
        returns `Steps`. The descriptors are closed when it has ended.
    space
        What the handlers' work holds on the device.
    """

    def __init__(
        self, channel: Channel, handlers: Mapping[str, Callable[[Any, list[int]], Steps]], space: Space
    ) -> None:
        self._channel = channel
        self._handlers = handlers
        self._space = space
        self._inbox = FrameQueue()
        self._send_lock = threading.Lock()
        self._cancelled: set[str] = set()
        self._stopping = threading.Event()
        self._stillness = Stillness()

    def run(self, ready: WorkerReady) -> None:
        """Greet with `ready`, then work until `stop` or the end of the connection.

        Raises
        ------
        SystemExit
            If a task has left this process such that nothing should be done in it any more.
        """
        self.send(ready)
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        while not self._stopping.is_set():
            if (received := self._inbox.take()) is not None:
                self._handle(received)

    def send(self, frame: FromWorker) -> None:
        """Send to the daemon from any thread; a daemon that is gone ends the process, since nobody waits any more."""
        try:
            with self._send_lock:
                self._channel.send(frame.as_message())
        except ClosedError:
            self._end()

    def _read(self) -> None:
        while True:
            try:
                frame = self._channel.receive()
            except ClosedError:
                self._end()
                return
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        """Queue what is to be done; note what is to be given up; answer for a task that cannot be understood."""
        try:
            asked = TO_WORKER.decode(frame.message)
        except FrameInvalid as error:
            frame.close()
            log.warning("a frame from the daemon is passed over: %s", error)
            if TO_WORKER.knows(frame.message) and isinstance(task := frame.message.get("task"), str):
                self._fail(task, error.code, str(error))
            return
        if isinstance(asked, CancelTask):
            frame.close()
            self._cancel(asked.task)
        else:
            self._inbox.put(Received(asked, frame))

    def _cancel(self, task: str) -> None:
        """Give up a task at its next step, or at once where it has not begun."""
        self._cancelled.add(task)
        if (waiting := self._inbox.drop(task)) is not None:
            self._cancelled.discard(task)
            waiting.carrier.close()
            self._fail(task, Code.CANCELLED, "cancelled before it began")

    def _end(self) -> None:
        """End the process at once, unless it is ending anyway: computing on for nobody would keep a device busy."""
        if not self._stopping.is_set():
            log.info("the daemon is gone; the worker ends")
            os._exit(0)

    def _beat(self) -> None:
        process = psutil.Process()
        while not self._stopping.wait(BEAT_S):
            still_s, task = self._stillness.look()
            self.send(WorkerHeartbeat(rss_bytes=process.memory_info().rss, still_s=still_s, still_task=task))

    def _handle(self, received: Received) -> None:
        frame, task = received.frame, received.task
        if isinstance(frame, StopWorker):
            self._stopping.set()
            received.carrier.close()
            return
        if isinstance(frame, ComeBack):
            return  # it is here
        self._stillness.step(task)
        try:
            self._advance(self._handlers[frame.type](frame, received.fds), task, frame.urgency)
        except CryobridgeError as error:
            self._fail(task, error.code, str(error))
        except Exception as error:  # the main loop: one bad task must not end the others
            if is_out_of_memory(error):
                self._fail(task, Code.OOM, f"out of memory ({error})")
            else:
                log.exception("task %s failed", task)
                self._fail(task, Code.FAILED, f"{type(error).__name__}: {error}")
            if broke_off_an_import(error):
                log.error("a module was left half loaded; the worker ends, and a new one begins")
                self._stopping.set()
                raise SystemExit(EXIT_UNSOUND) from error
        finally:
            received.carrier.close()
            self._cancelled.discard(task)
            self._stillness.rest()
        if isinstance(frame, LeaveDevice):
            self._stay_away()

    def _stay_away(self) -> None:
        """Do nothing that needs the device, until `come_back`."""
        while not self._stopping.is_set():
            received = self._inbox.take(LeaveDevice.urgency)
            if received is not None:
                self._handle(received)
                if isinstance(received.frame, ComeBack):
                    return

    def _advance(self, steps: Steps, task: str, rank: int) -> None:
        last_said = time.monotonic()
        while True:
            if task in self._cancelled:
                steps.close()
                raise Cancelled("cancelled on request")
            self._stillness.step(task)
            try:
                progress = next(steps)
            except StopIteration as end:
                reply: FromWorker = end.value
                self.send(reply)
                return
            if progress is not None:
                now = time.monotonic()
                if progress.fraction is None or now - last_said >= PROGRESS_EVERY_S:
                    last_said = now
                    self.send(TaskProgress(task=task, text=progress.text, fraction=progress.fraction))
            self._give_way(task, rank)

    def _give_way(self, task: str, rank: int) -> None:
        """Handle whatever is more urgent than a task; what the task holds on the device is not there meanwhile."""
        parked = False
        while not self._stopping.is_set():
            urgent = self._inbox.take(rank, wait=False)
            if urgent is None:
                if not parked or self._is_back(task):
                    return
                self._stillness.rest()
                urgent = self._inbox.take(rank, at_most_s=ROOM_PAUSE_S)
            if urgent is not None:
                if urgent.frame.needs_device and not parked:
                    parked = True
                    self._make_room()
                self._handle(urgent)

    def _make_room(self) -> None:
        """Clear the device as far as that can be done; a call is answered with what room there is."""
        try:
            self._space.park()
        except Exception:  # the main loop: whatever went wrong is the task's trouble, not the call's
            log.exception("what a task holds on the device could not all be moved away")

    def _is_back(self, task: str) -> bool:
        """Try to put a task back on the device; false while another program, as RELION does, keeps its memory."""
        if task in self._cancelled:
            self._space.abandon()
            return True
        self._stillness.step(task)
        try:
            self._space.unpark()
        except Exception as error:
            if not is_out_of_memory(error):
                self._space.abandon()
                raise
            self.send(TaskProgress(task=task, text="waiting for room on the device"))
            return False
        return True

    def _fail(self, task: str, code: AnyCode, text: str) -> None:
        log.warning("task %s: %s: %s", task, code, text)
        self.send(TaskFailed(task=task, code=code, text=" ".join(text.split())[:2000]))
