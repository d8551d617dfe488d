"""Jobs at whichever daemon answers now: each call has its own connection, and each failure its own name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_daemon import ScriptedDaemon, scripted_daemon

from cryobridge.bridge.daemon_jobs import DaemonJobs
from cryobridge.schemas.errors import DaemonUnavailable, InputInvalid, JobRejected
from cryobridge.wrappers.cryosparc.daemon import JobEnd

SPEC = {"kind": "map.fsc3d", "run": {"request_id": "cs-1"}}


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(tmp_path / "socket"))
    return tmp_path / "socket"


@pytest.fixture
def daemon(socket: Path) -> Iterator[ScriptedDaemon]:
    with scripted_daemon(socket) as running:
        yield running


def unheard(_: str, __: float | None) -> None:
    return None


def test_a_job_is_handed_over_as_it_is(daemon: ScriptedDaemon) -> None:
    daemon.replies("submit", job_id="job-1", state="queued")
    assert DaemonJobs().submit(SPEC) == "job-1"
    assert daemon.requests[-1]["spec"] == SPEC


def test_an_end_comes_with_its_words(daemon: ScriptedDaemon) -> None:
    daemon.replies("wait", job_id="job-1", state="failed", reason="oom", text="the GPU has too little memory")
    end = DaemonJobs().end_of("job-1", 1.0, unheard)
    assert end == JobEnd("failed", "oom", "the GPU has too little memory")


def test_progress_is_passed_on_and_a_job_that_goes_on_has_no_end(daemon: ScriptedDaemon) -> None:
    daemon.answers["wait"] = lambda request: [
        {"type": "progress", "job_id": "job-1", "text": "training", "fraction": 0.25},
        {"type": "reply", "ok": True, "job_id": "job-1", "state": "running"},
    ]
    heard: list[tuple[str, float | None]] = []
    begun = time.monotonic()
    assert DaemonJobs().end_of("job-1", 0.05, lambda text, fraction: heard.append((text, fraction))) is None
    assert time.monotonic() - begun < 5
    assert heard[0] == ("training", 0.25)


def test_a_job_that_the_daemon_does_not_know_is_told_from_a_daemon_that_is_away(daemon: ScriptedDaemon) -> None:
    """After which it is handed over again by its name (`wrappers.cryosparc.card.following`)."""
    daemon.answers["wait"] = lambda _: {
        "type": "error",
        "code": "input_invalid",
        "text": "there is no job job-1 of yours",
    }
    with pytest.raises(InputInvalid, match="there is no job"):
        DaemonJobs().end_of("job-1", 1.0, unheard)
    daemon.answers["wait"] = lambda _: None
    with pytest.raises(DaemonUnavailable, match="went away"):
        DaemonJobs().end_of("job-1", 1.0, unheard)


def test_a_job_that_is_refused_is_refused(daemon: ScriptedDaemon) -> None:
    daemon.answers["submit"] = lambda _: {"type": "error", "code": "rejected", "text": "the queue is full"}
    with pytest.raises(JobRejected, match="the queue is full"):
        DaemonJobs().submit(SPEC)


def test_a_job_is_stopped(daemon: ScriptedDaemon) -> None:
    daemon.replies("cancel", job_id="job-1", state="cancelled")
    DaemonJobs().cancel("job-1")
    assert [(one["type"], one["job_id"]) for one in daemon.requests] == [("cancel", "job-1")]


def test_without_a_daemon_every_call_says_so(socket: Path) -> None:
    jobs = DaemonJobs()
    for call in (lambda: jobs.submit(SPEC), lambda: jobs.end_of("job-1", 1.0, unheard), lambda: jobs.cancel("job-1")):
        with pytest.raises(DaemonUnavailable):
            call()
