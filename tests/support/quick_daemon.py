"""A daemon for tests of the bridge: one device, jobs that last as long as a test says, and real results."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from cryobridge.schemas.errors import DaemonUnavailable
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress

from .computed_once import result_of


class QuickDaemon:
    """Does jobs one after the other in a thread of its own; knows a request again by its name, as the real one does.

    Parameters
    ----------
    takes_s
        So long the device is busy with each job.
    """

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.away = False
        self.specs: dict[str, dict[str, Any]] = {}
        self.began: dict[str, float] = {}
        self.cancelled: list[str] = []
        self._ends: dict[str, JobEnd] = {}
        self._line: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, spec: dict[str, Any]) -> str:
        self._answer()
        name = str(spec["run"]["request_id"])
        with self._changed:
            if name not in self.specs:
                self.specs[name] = spec
                self._line.put(name)
        return name

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        self._answer()
        on_progress("at work" if job_id in self.began else "waits", None)
        with self._changed:
            self._changed.wait_for(lambda: job_id in self._ends, timeout_s)
            return self._ends.get(job_id)

    def cancel(self, job_id: str) -> None:
        self._answer()
        with self._changed:
            self.cancelled.append(job_id)
            self._ends.setdefault(job_id, JobEnd("cancelled", "cancelled", "cancelled on request"))
            self._changed.notify_all()

    def _answer(self) -> None:
        if self.away:
            raise DaemonUnavailable("no daemon is running; start one with 'cryobridge serve'")

    def _work(self) -> None:
        while True:
            name = self._line.get()
            self.began[name] = time.monotonic()
            with self._changed:
                self._changed.wait_for(lambda name=name: name in self._ends, self.takes_s)
                if name in self._ends:
                    continue
            end = result_of(self.specs[name])
            with self._changed:
                self._ends.setdefault(name, end)
                self._changed.notify_all()
