"""Books iterations as jobs of kind `relion.reconstruct`.

A refinement must go on when the disk of the database is full, so nothing here raises; what could not be written is
logged, and `problem` says so to `status`.
"""

from __future__ import annotations

import logging

from cryobridge.schemas.codes import Code

from ..pool.scheduler import Priority
from ..queue.store import RELION_KIND, Store, StoreUnavailable, WrongTransition
from .iteration import Iteration, Verdict

log = logging.getLogger(__name__)


class Books:
    """The ledger that `bridge.refinements.pairing` writes to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.problem: str | None = None

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
        try:
            with self._store.together():
                self._store.add(RELION_KIND, spec, key.uid, priority=Priority.CALL, job_id=iteration.id)
                self._store.start(iteration.id)
        except StoreUnavailable as error:
            self._failed(iteration, error)
        else:
            self.problem = None

    def end_iteration(self, iteration: Iteration, verdict: Verdict) -> None:
        """Book how an iteration ended; one that was not booked as begun is left out."""
        try:
            if self._store.get(iteration.id) is None:
                return
            if verdict.code == Code.CANCELLED:
                self._store.cancel(iteration.id, verdict.line)
            elif verdict.failed:
                self._store.fail(iteration.id, verdict.code, verdict.line)
            else:
                result = {"used": "corrected" if verdict.corrected else "standard", "code": verdict.code}
                self._store.succeed(iteration.id, {**result, "metrics": iteration.metrics}, verdict.line)
        except (StoreUnavailable, WrongTransition) as error:
            self._failed(iteration, error)

    def _failed(self, iteration: Iteration, error: Exception) -> None:
        self.problem = str(error)
        log.error("iteration not booked", extra={"job_id": iteration.id, "error": str(error)})
