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
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil

from cryobridge.schemas.errors import Cancelled, CryobridgeError, OutOfMemory
from cryobridge.schemas.wire import Channel, ClosedError, Frame, Message

from .memory import is_out_of_memory

log = logging.getLogger(__name__)
T = TypeVar("T")

BEAT_S = 2.0
PROGRESS_EVERY_S = 10.0

URGENCY = {"stop": 0, "cancel": 0, "forget": 0, "half": 1, "prepare": 1, "release": 1, "correct": 2, "job": 3}
"""Smaller goes first. A task gives way, between its steps, to anything of smaller number."""


@dataclass(frozen=True)
class Progress:
    """What a step of long work has to say: a line, and how much is done (0 to 1) where that is known."""

    text: str
    fraction: float | None = None


Steps = Generator[Progress | None, None, Message]
"""Long work: yields between steps, returns the fields of its final reply."""


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


class FrameQueue:
    """Frames from the daemon, most urgent first, in order of arrival within one urgency."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Frame]] = {rank: deque() for rank in set(URGENCY.values())}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: Frame) -> None:
        """Queue a frame (reader thread)."""
        with self._changed:
            self._queues[URGENCY[frame.type]].append(frame)
            self._changed.notify()

    def close(self) -> None:
        """Wake the main thread for the last time."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, below: int | None = None, *, wait: bool = True) -> Frame | None:
        """Return the next frame of urgency under `below` (any when None); None when there is none to come."""
        with self._changed:
            while True:
                for rank in sorted(self._queues):
                    if (below is None or rank < below) and self._queues[rank]:
                        return self._queues[rank].popleft()
                if not wait or self._closed:
                    return None
                self._changed.wait()


class WorkerLoop:
    """Serves one daemon over one channel until told to stop or until the daemon is gone.

    Parameters
    ----------
    channel
        The connection to the daemon.
    handlers
        For each frame type but `stop` and `cancel`: a function of the frame that returns `Steps`.
        The handler owns the frame's descriptors.
    """

    def __init__(self, channel: Channel, handlers: dict[str, Callable[[Frame], Steps]]) -> None:
        self._channel = channel
        self._handlers = handlers
        self._inbox = FrameQueue()
        self._send_lock = threading.Lock()
        self._cancelled: set[str] = set()
        self._stopping = threading.Event()

    def run(self, hello: Message) -> None:
        """Greet with `hello`, then work until `stop` or the end of the connection."""
        self.send({"type": "ready", "pid": os.getpid(), **hello})
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        while not self._stopping.is_set():
            frame = self._inbox.take()
            if frame is None:
                return
            self._handle(frame)

    def send(self, message: Message) -> None:
        """Send to the daemon from any thread; a daemon that is gone ends the process, since nobody waits any more."""
        try:
            with self._send_lock:
                self._channel.send(message)
        except ClosedError:
            self._end()

    def _read(self) -> None:
        while True:
            try:
                frame = self._channel.receive()
            except ClosedError:
                self._end()
                return
            if frame.type == "cancel":
                self._cancelled.add(str(frame.message.get("task")))
                frame.close()
            elif frame.type in URGENCY:
                self._inbox.put(frame)
            else:
                log.warning("unknown frame %s from the daemon", frame.type)
                frame.close()

    def _end(self) -> None:
        """End the process at once, unless it is ending anyway: computing on for nobody would keep a device busy."""
        if not self._stopping.is_set():
            log.info("the daemon is gone; the worker ends")
            os._exit(0)

    def _beat(self) -> None:
        process = psutil.Process()
        while not self._stopping.wait(BEAT_S):
            self.send({"type": "heartbeat", "rss_bytes": process.memory_info().rss})

    def _handle(self, frame: Frame) -> None:
        if frame.type == "stop":
            self._stopping.set()
            frame.close()
            return
        task = str(frame.message.get("task", ""))
        rank = URGENCY[frame.type]
        try:
            self._advance(self._handlers[frame.type](frame), task, rank)
        except CryobridgeError as error:
            self._fail(task, error.code, str(error))
        except Exception as error:  # the main loop: one bad task must not end the others
            if is_out_of_memory(error):
                self._fail(task, OutOfMemory.code, f"out of memory ({error})")
            else:
                log.exception("task %s failed", task)
                self._fail(task, "failed", f"{type(error).__name__}: {error}")
        finally:
            frame.close()
            self._cancelled.discard(task)

    def _advance(self, steps: Steps, task: str, rank: int) -> None:
        last_said = time.monotonic()
        while True:
            if task in self._cancelled:
                steps.close()
                raise Cancelled("cancelled on request")
            try:
                progress = next(steps)
            except StopIteration as end:
                reply: Message | None = end.value
                if reply is not None:
                    self.send({"task": task, **reply})
                return
            if progress is not None:
                now = time.monotonic()
                if progress.fraction is None or now - last_said >= PROGRESS_EVERY_S:
                    last_said = now
                    self.send({"type": "progress", "task": task, "text": progress.text, "fraction": progress.fraction})
            while not self._stopping.is_set() and (urgent := self._inbox.take(rank, wait=False)) is not None:
                self._handle(urgent)

    def _fail(self, task: str, code: str, text: str) -> None:
        log.warning("task %s: %s: %s", task, code, text)
        reply: dict[str, Any] = {"type": "failed", "task": task, "code": code, "text": " ".join(text.split())[:2000]}
        self.send(reply)
