"""What becomes of a job in SLURM: every end has one ruling, and a job that may still run has none."""

from __future__ import annotations

import pytest

from cryobridge.bridge.slurm.spool import SpoolFiles
from cryobridge.bridge.slurm.states import STANDINGS, SlurmJob
from cryobridge.bridge.slurm.verdicts import STALE_S, AttemptEnd, SeenAttempt, judge
from cryobridge.schemas.codes import Code
from cryobridge.schemas.spool import SpooledFailure

LATE = 1000.0


def seen(state: str | None = "RUNNING", files: SpoolFiles | None = None, **more: object) -> SeenAttempt:
    job = None if state is None else SlurmJob(5, state, "n1", "cryobridge-x-0")
    return SeenAttempt(files or SpoolFiles(), 5, job, **{"over_s": LATE, "silent_s": LATE, **more})


@pytest.mark.parametrize(
    ("state", "end", "code"),
    [
        ("COMPLETED", AttemptEnd.LOST, Code.WORKER_DIED),
        ("FAILED", AttemptEnd.LOST, Code.WORKER_DIED),
        ("NODE_FAIL", AttemptEnd.LOST, Code.WORKER_DIED),
        ("BOOT_FAIL", AttemptEnd.LOST, Code.WORKER_DIED),
        ("PREEMPTED", AttemptEnd.AGAIN, Code.WORKER_DIED),
        ("CANCELLED", AttemptEnd.CANCELLED, Code.CANCELLED),
        ("TIMEOUT", AttemptEnd.FAILED, Code.TIMEOUT),
        ("OUT_OF_MEMORY", AttemptEnd.FAILED, Code.OOM),
    ],
)
def test_an_end_without_a_word_of_the_worker(state: str, end: AttemptEnd, code: Code) -> None:
    ruling = judge(seen(state))
    assert ruling is not None
    assert (ruling.outcome, ruling.code) == (end, code)
    assert "5" in ruling.text


@pytest.mark.parametrize("state", [*sorted(STANDINGS), None])
def test_what_the_worker_has_written_counts_whatever_slurm_says(state: str | None) -> None:
    assert judge(seen(state, SpoolFiles(result={}))).outcome is AttemptEnd.DONE
    failed = judge(seen(state, SpoolFiles(failure=SpooledFailure(code="input_invalid", text="bad map"))))
    assert (failed.outcome, failed.code, failed.text) == (AttemptEnd.FAILED, Code.INPUT_INVALID, "bad map")
    cancelled = judge(seen(state, SpoolFiles(failure=SpooledFailure(code="cancelled", text=""))))
    assert cancelled.outcome is AttemptEnd.CANCELLED


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", None])
def test_a_job_that_may_run_is_followed(state: str | None) -> None:
    assert judge(seen(state)) is None
    assert judge(seen(state, cancelling=True)) is None


def test_the_last_files_may_be_seen_late() -> None:
    assert judge(seen("COMPLETED", over_s=10.0)) is None
    assert judge(seen("NODE_FAIL", over_s=1.0)) is None


def test_a_job_that_slurm_forgot_is_lost_when_its_worker_is_silent_too() -> None:
    assert judge(seen(None, gone=True)).outcome is AttemptEnd.LOST
    assert judge(seen(None, gone=True, silent_s=STALE_S - 1)) is None
    assert judge(seen(None, gone=True, over_s=STALE_S - 1)) is None


@pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL", "COMPLETED", "PREEMPTED", "TIMEOUT"])
def test_whatever_ends_a_job_that_was_to_stop_it_is_cancelled(state: str) -> None:
    assert judge(seen(state, cancelling=True)).outcome is AttemptEnd.CANCELLED
    assert judge(seen(None, gone=True, cancelling=True, over_s=3.0)).outcome is AttemptEnd.CANCELLED
