"""Who does a daemon's work: workers on its own devices, which it may lend; or workers on devices lent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryobridge.schemas.config import DaemonConfig

from ..leases.landlord import Landlord
from ..leases.leased_workers import LeasedWorkers
from ..leases.tenants import Business, Tenants
from ..leases.turns import Rules
from ..pool.budgets import device_budgets
from ..pool.devices import worker_devices
from ..pool.lent import LentPool
from ..pool.place import WORKER_COMMAND, Spawn, WorkerState, spawner
from ..pool.pool import Pool
from ..pool.roomy import RoomyDevices, are_alike
from ..queue.submitted import JobWorkers


class Workforce:
    """The pool of a daemon, and its side of leases.

    Attributes
    ----------
    pool
        The worker processes.
    jobs
        Who takes jobs.
    devices
        The daemon's own; None where it has none and only asks for some.
    tenants
        To whom devices are lent; None where there is nothing to lend.
    """

    pool: Pool
    jobs: JobWorkers
    devices: Sequence[str] | None
    tenants: Tenants | None
    _landlord: Landlord | None
    _budgets: Mapping[str, int]

    def __init__(
        self, loop: asyncio.AbstractEventLoop, config: DaemonConfig, folder: Path, spawn: Spawn | None
    ) -> None:
        if config.jobs_only:
            workers = LeasedWorkers(loop)
            workers.pool = LentPool(loop, config.deadlines, folder, on_left=workers.left, spawn=spawn)
            workers.landlord = Landlord(loop, config.landlord_path(), workers)
            self.pool, self.jobs, self.devices = workers.pool, workers, None
            self.tenants, self._landlord = None, workers.landlord
            return
        devices = worker_devices(config.devices)
        if config.gpu_mode == "dedicated":
            spawn = spawn or spawner((*WORKER_COMMAND, "--keep"))
        self.pool = pool = Pool(loop, devices, config.deadlines, folder, keep_alive_s=config.keep_alive_s, spawn=spawn)
        self._budgets = device_budgets(devices)
        alike = are_alike(devices, self._budgets)
        self.jobs = pool if alike else RoomyDevices(loop, pool, devices, self._budgets)
        self.devices = devices
        rules = Rules(config.lending.turn_s, config.lending.most_aside)
        self.tenants = Tenants(devices, self._business, rules, config.lending.give_way_s, pool.pump, loop.time)
        pool.tenancy = self.tenants
        self._landlord = None

    @property
    def problem(self) -> str | None:
        """Why not all work can be done, or None."""
        asked = self._landlord.problem if self._landlord else self.tenants.problem if self.tenants else None
        return self.pool.degraded or asked

    def tick(self, now: float) -> None:
        """Look after workers and leases."""
        self.pool.tick()
        if self.tenants is not None:
            self.tenants.tick(now)
        if self._landlord is not None:
            self._landlord.tick(now)

    def forgive(self, seconds: float) -> None:
        """Do not count a time in which this process did not run as others' silence."""
        self.pool.forgive(seconds)
        if self.tenants is not None:
            self.tenants.forgive(seconds)
        if self._landlord is not None:
            self._landlord.forgive(seconds)

    def begin_jobs(self, wanted: bool) -> None:
        """Begin jobs, and grant devices for them, or let them wait; what has begun goes on."""
        self.pool.begins_jobs = wanted
        if self.tenants is not None:
            self.tenants.accepting = wanted
        self.pool.pump()
        if isinstance(self.jobs, LeasedWorkers):
            self.jobs.ask_more()

    def close(self) -> None:
        """Give back what is lent to this daemon, and let the workers end."""
        if self._landlord is not None:
            self._landlord.close()
        self.pool.stop()

    def _business(self, device: str) -> Business:
        here = [worker for worker in self.pool.workers if worker.device == device]
        busy = [task for worker in here for task in worker.tasks.values() if task.busy]
        return Business(
            calls=any(task.is_call for task in busy),
            jobs=any(not task.is_call for task in busy),
            ready=any(worker.state in (WorkerState.READY, WorkerState.STOPPED) for worker in here),
            budget_bytes=self._budgets.get(device),
        )
