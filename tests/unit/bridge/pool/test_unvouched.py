"""For which workers nobody can vouch, so that the daemon does not say that all is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge.pool.place import Worker, WorkerState
from cryobridge.bridge.pool.watching import unvouched
from cryobridge.schemas.config import Deadlines

NOW = 1000.0
DEADLINES = Deadlines(silence_s=10.0, worker_start_s=100.0)


@pytest.mark.parametrize(
    ("state", "times", "said"),
    [
        (WorkerState.READY, {"heard_at": NOW - 4}, None),
        (WorkerState.READY, {"heard_at": NOW - 6}, "worker-0 is silent"),
        (WorkerState.STARTING, {"started_at": NOW - 100, "heard_at": NOW - 100}, None),
        (WorkerState.STARTING, {"started_at": NOW - 106}, "worker-0 does not start and is not ended"),
        (WorkerState.FAILED, {"retry_at": NOW + 60, "failures": 9}, None),
        (WorkerState.FAILED, {"retry_at": NOW - 6, "failures": 9}, "worker-0 is not started again"),
        (WorkerState.STOPPED, {}, None),
    ],
)
def test_a_worker_is_doubtful_where_the_daemon_should_have_acted(
    state: WorkerState, times: dict[str, float], said: str | None
) -> None:
    worker = Worker("worker-0", "cpu", Path("log"), state=state, **times)
    assert unvouched(worker, NOW, DEADLINES) == said
