"""Where an External job is done, and that it stops when it is not wanted any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cryobridge.bridge import external_job
from cryobridge.bridge.external_job import ALLOCATIONS, ExternalJob
from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import Cancelled, CryobridgeError, DaemonUnavailable, InputInvalid, JobRejected
from cryobridge.schemas.job import parse_job
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress


class ScriptedJobs:
    """A daemon whose answers to `end_of` are a list: an end, None for "not yet", or an error."""

    def __init__(self, *answers: JobEnd | CryobridgeError | None, refuses: CryobridgeError | None = None) -> None:
        self.answers = list(answers)
        self.refuses = refuses
        self.submitted: list[dict[str, Any]] = []
        self.cancelled: list[str] = []

    def submit(self, spec: dict[str, Any]) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.submitted.append(spec)
        return f"job{len(self.submitted)}"

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        on_progress("training", 0.5)
        answer = self.answers.pop(0)
        if isinstance(answer, CryobridgeError):
            raise answer
        return answer

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)


DONE = JobEnd("succeeded", "", "")


class Bench:
    """One job, what was said of it, and whether it was done here."""

    def __init__(self, job: Job, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
        self.said: list[str] = []
        self.complaints: list[str] = []
        self.files: list[str] = []
        self.job = job

        def here(job_file: Path, *, progress_on_stdout: bool, look: Callable[[], None]) -> int:
            assert progress_on_stdout
            look()
            self.files = sorted(path.name for path in job_file.parent.iterdir())
            return code

        monkeypatch.setattr(external_job, "run_in_foreground", here)

    def run(
        self, daemon: ScriptedJobs, environment: dict[str, str] | None = None, look: Callable[[], None] = lambda: None
    ) -> bool:
        names = {"options.limit_resolution_A": "--limit_res"}
        job = ExternalJob(self.job, names, look, self.said.append, self.complaints.append)
        return job.run(daemon, environment or {})


@pytest.fixture
def job(tmp_path: Path) -> Job:
    spec = {"schema": "cryobridge/job/1", "kind": "map.fsc3d", "output": "out"}
    (tmp_path / "out").mkdir()
    return parse_job({**spec, "inputs": {"half1": "1.mrc", "half2": "2.mrc"}, "options": {}}, "").resolved(tmp_path)


@pytest.fixture
def bench(job: Job, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(external_job, "SLICE_S", 0.0)
    return Bench(job, monkeypatch)


def test_a_daemon_that_answers_does_the_job(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = ScriptedJobs(None, DONE)
    assert bench.run(daemon)
    assert bench.files == []
    assert daemon.submitted[0]["run"]["request_id"].startswith("relion-")
    out, err = capsys.readouterr()
    assert "50%  training" in out
    assert err == ""


@pytest.mark.parametrize("refusal", [DaemonUnavailable("none"), JobRejected("it is another user's")])
def test_where_none_does_it_is_done_here_and_leaves_no_file_of_its_own(bench: Bench, refusal: CryobridgeError) -> None:
    assert bench.run(ScriptedJobs(refuses=refusal))
    assert bench.files == ["job.json", "names.json"]
    assert list(bench.job.output.iterdir()) == []
    assert "runs here" in bench.said[0]


@pytest.mark.parametrize("variable", ALLOCATIONS)
def test_an_allocation_keeps_its_job(bench: Bench, variable: str) -> None:
    daemon = ScriptedJobs(DONE)
    assert bench.run(daemon, {variable: "77"})
    assert daemon.submitted == []
    assert bench.run(daemon, {variable: "77", "CRYOBRIDGE_SOCKET": "/chosen"})
    assert len(daemon.submitted) == 1


def test_a_failure_is_told_in_the_words_of_the_label(bench: Bench) -> None:
    end = JobEnd("failed", "input_invalid", "limit_resolution_A 1 is not between 96 A and 6 A")
    assert not bench.run(ScriptedJobs(end))
    assert bench.complaints == ["--limit_res 1 is not between 96 A and 6 A"]


def test_a_failure_here_is_a_failure(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(job, monkeypatch, code=1)
    assert not bench.run(ScriptedJobs(refuses=DaemonUnavailable("none")))


def test_a_daemon_that_was_away_is_given_the_same_request_again(bench: Bench) -> None:
    daemon = ScriptedJobs(None, DaemonUnavailable("gone"), InputInvalid("no such job"), DONE)
    assert bench.run(daemon)
    assert len({spec["run"]["request_id"] for spec in daemon.submitted}) == 1
    assert len(daemon.submitted) == 3


def test_a_daemon_that_stays_away_is_not_waited_for_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_job, "DAEMON_PATIENCE_S", -1.0)
    assert bench.run(ScriptedJobs(None, DaemonUnavailable("gone")))
    assert bench.files == ["job.json", "names.json"]


def wanted_for(looks: int) -> Callable[[], None]:
    left = [looks]

    def look() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Cancelled("not wanted")

    return look


def test_a_job_that_is_not_wanted_is_cancelled_in_the_daemon(bench: Bench) -> None:
    daemon = ScriptedJobs(None, None, JobEnd("cancelled", "cancelled", ""))
    with pytest.raises(Cancelled):
        bench.run(daemon, look=wanted_for(2))
    assert daemon.cancelled == ["job1"]
    assert daemon.answers == []


def test_a_job_that_somebody_cancelled_in_the_daemon_counts_as_aborted(bench: Bench) -> None:
    with pytest.raises(Cancelled, match="cancelled in the daemon"):
        bench.run(ScriptedJobs(JobEnd("cancelled", "cancelled", "")))


def test_a_signal_that_ended_the_worker_first_is_no_failure(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(job, monkeypatch, code=143)
    with pytest.raises(Cancelled):
        bench.run(ScriptedJobs(refuses=DaemonUnavailable("none")), look=wanted_for(1))
