"""Workers on devices that another daemon lends: each lives for its jobs, and leaves its device when told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryobridge.schemas.worker_messages import ComeBack, LeaveDevice

from .place import Away, Worker, WorkerState
from .pool import Pool

KEEP_ALIVE_S = 20.0
"""So long a worker waits for the next job on its device: most of a short job is the start of its worker."""


class LentPool(Pool):
    """The workers of a daemon that has no device of its own.

    Parameters
    ----------
    on_left
        Called with a worker that has left its device.
    rest
        As `Pool`.
    """

    def __init__(self, *rest: Any, on_left: Callable[[Worker], None], **more: Any) -> None:
        super().__init__(rest[0], (), *rest[1:], keep_alive_s=KEEP_ALIVE_S, **more)
        self._log_dir: Path = rest[2]
        self._on_left = on_left

    def worker_on(self, device: str) -> Worker:
        """A worker for one job on a device: one that has nothing to do, else a new one."""
        for worker in self.workers:
            free = not worker.tasks and worker.away is Away.NOT and worker.terminated_at is None
            if worker.device == device and worker.state is WorkerState.READY and free and not self._awaited(worker):
                return worker
        place = next((one for one in self.workers if one.device == device and not one.alive), None)
        if place is None:
            name = f"lent-{len(self.workers)}"
            place = Worker(name, device, self._log_dir / f"{name}.log")
            self.workers.append(place)
        place.failures = 0
        self._start(place)
        return place

    def leave(self, worker: Worker) -> None:
        """Tell a worker to leave its device; `on_left` is called when it has, at once if it has not begun to live."""
        if worker.state is not WorkerState.READY or worker.connection is None:
            worker.away = Away.LEFT
            self._on_left(worker)
        elif worker.away is Away.NOT:
            worker.away = Away.LEAVING
            worker.connection.send(LeaveDevice().as_message())
        elif worker.away is Away.WANTED_BACK:
            worker.away = Away.LEAVING

    def come_back(self, worker: Worker) -> None:
        """Tell a worker that its device is free for it again."""
        if worker.away is Away.LEAVING:
            worker.away = Away.WANTED_BACK
        elif worker.away is Away.LEFT:
            worker.away = Away.NOT
            if worker.state is WorkerState.READY and worker.connection is not None:
                worker.connection.send(ComeBack().as_message())
            self.pump()

    def end(self, worker: Worker, why: str) -> None:
        """End a worker now; what it had is lost."""
        if worker.alive:
            self._end(worker, why)

    def tick(self) -> None:
        """As `Pool.tick`; workers that have ended are not started again."""
        super().tick()
        for worker in self.workers:
            if worker.state is WorkerState.FAILED:
                # What it had was told as lost; its place is for the next job.
                worker.state = WorkerState.STOPPED

    def _awaited(self, worker: Worker) -> bool:
        return any(task.home == worker.name for task in self._waiting.values())

    def _wanted(self, _worker: Worker) -> bool:
        return False

    def _device_left(self, worker: Worker) -> None:
        wanted_back = worker.away is Away.WANTED_BACK
        worker.away = Away.LEFT
        if wanted_back:
            self.come_back(worker)
        else:
            self._on_left(worker)
