"""A thread that does what touches shared files: a file system that does not answer holds up nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class FileThread:
    """Does one piece of work after the other; nobody waits for it at the end of the process."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, work: Callable[[], T]) -> T:
        """Have something done there; what it returns or raises."""
        if self._thread is None:
            # Only where there are such jobs at all.
            self._thread = threading.Thread(target=self._run, name="slurm files", daemon=True)
            self._thread.start()
        done: Future[T] = Future()
        self._work.put((work, done))
        return await asyncio.wrap_future(done)

    def _run(self) -> None:
        while True:
            work, done = self._work.get()
            if done.set_running_or_notify_cancel():
                # The loop that waits may have ended.
                with contextlib.suppress(RuntimeError):
                    _settle(work, done)


def _settle(work: Callable[[], T], done: Future[T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
        done.set_exception(error)
    else:
        done.set_result(result)
