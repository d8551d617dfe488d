"""Books iterations as jobs of kind `relion.reconstruct`.

A refinement must go on when the disk of the database is full, so nothing here raises; what could not be written waits
until it can be, and `problem` says so to `status`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cryobridge.schemas.codes import Code

from ..pool.scheduler import Priority
from ..queue.bookings import Bookings
from ..queue.store import RELION_KIND, Store
from .iteration import Iteration, Verdict

MAX_WAITING = 4096
"""Beginnings and ends that wait for a disk; a day of refinements."""


class Books:
    """The ledger that `bridge.refinements.pairing` writes to; `clock` gives monotonic seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._bookings = Bookings(clock, MAX_WAITING)

    @property
    def problem(self) -> str | None:
        """Why iterations could not be booked yet, or None."""
        return self._bookings.problem

    def tick(self, now: float) -> None:
        """Book what could not be booked before."""
        self._bookings.tick(now)

    def begin_iteration(self, iteration: Iteration) -> None:
        """Book an iteration as running."""
        key = iteration.key
        spec = {
            "schema": "cryobridge/job/1",
            "kind": RELION_KIND,
            "inputs": {
                "job_dir": key.job_dir,
                "root": key.root,
                "iteration": key.iteration,
                "part": key.kind,
                "number": key.number,
            },
            "output": key.job_dir,
        }
        self._bookings.book(partial(self._begin, iteration.id, spec, key.uid))

    def end_iteration(self, iteration: Iteration, verdict: Verdict) -> None:
        """Book how an iteration ended; one that was not booked as begun is left out."""
        result = {
            "used": "corrected" if verdict.corrected else "standard",
            "code": verdict.code,
            "metrics": dict(iteration.metrics),
        }
        self._bookings.book(partial(self._end, iteration.id, verdict, result))

    # ---- inside

    def _begin(self, iteration_id: str, spec: Mapping[str, Any], uid: int) -> None:
        with self._store.together():
            self._store.add(RELION_KIND, spec, uid, priority=Priority.CALL, job_id=iteration_id)
            self._store.start(iteration_id)

    def _end(self, iteration_id: str, verdict: Verdict, result: Mapping[str, Any]) -> None:
        if self._store.get(iteration_id) is None:
            return
        if verdict.code == Code.CANCELLED:
            self._store.cancel(iteration_id, verdict.line)
        elif verdict.failed:
            self._store.fail(iteration_id, verdict.code, verdict.line)
        else:
            self._store.succeed(iteration_id, result, verdict.line)
