"""Submitted jobs through a real daemon: acknowledged is never lost, cancel works, owners only."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, call_both, wait_for

pytestmark = pytest.mark.faults


def spec(folder: Path, name: str = "out", **run) -> dict:
    for half in ("a.mrc", "b.mrc"):
        (folder / half).touch()
    return {
        "schema": "cryobridge/job/1",
        "kind": "map.fsc3d",
        "inputs": {"half1": str(folder / "a.mrc"), "half2": str(folder / "b.mrc")},
        "output": str(folder / name),
        **({"run": run} if run else {}),
    }


def submit(daemon: DaemonProcess, tmp_path: Path, **run) -> str:
    reply = daemon.ask("submit", spec=spec(tmp_path, **run))
    assert reply["type"] == "reply", reply
    return reply["job_id"]


def state(daemon: DaemonProcess, job_id: str) -> str:
    return daemon.ask("wait", job_id=job_id, timeout_s=0)["state"]


def test_a_job_is_run_and_waited_for(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.fake(job_s=0.5)
    job_id = submit(daemon, tmp_path)
    reply = daemon.ask("wait", job_id=job_id, timeout_s=20)
    assert reply["state"] == "succeeded"
    assert reply["result"] == {"kind": "map.fsc3d"}
    lines = daemon.ask("logs", job_id=job_id)["lines"]
    assert [line.split()[2] for line in lines] == ["queued", "running", "progress", "succeeded"]
    assert daemon.ask("jobs", limit=5)["jobs"][0]["job_id"] == job_id


def test_a_wait_ends_at_its_time_and_shows_progress_before(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.ready_worker()
    daemon.fake(job_s=20)
    job_id = submit(daemon, tmp_path)
    channel = daemon.connect()
    channel.receive(5)
    channel.send({"type": "wait", "job_id": job_id, "timeout_s": 1.0})
    first = channel.receive(5).message
    assert (first["type"], first["text"], first["fraction"]) == ("progress", "working", 0.5)
    last = channel.receive(5).message
    assert (last["type"], last["state"]) == ("reply", "running")
    channel.close()


def test_jobs_run_one_after_another_and_a_running_one_can_be_cancelled(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.ready_worker()
    daemon.fake(job_s=20)
    first, second, third = (submit(daemon, tmp_path) for _ in range(3))
    wait_for(lambda: state(daemon, first) == "running")
    assert state(daemon, second) == "queued"
    assert daemon.ask("cancel", job_id=second)["state"] == "cancelled"
    daemon.ask("cancel", job_id=first)
    wait_for(lambda: state(daemon, first) == "cancelled")
    wait_for(lambda: state(daemon, third) == "running")
    assert daemon.ask("cancel", job_id=second)["state"] == "cancelled"


def test_a_job_that_ignores_cancel_is_cancelled_with_its_worker(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.ready_worker()
    daemon.fake(job_s=60, deaf=True)
    job_id = submit(daemon, tmp_path)
    wait_for(lambda: state(daemon, job_id) == "running")
    daemon.ask("cancel", job_id=job_id)
    wait_for(lambda: state(daemon, job_id) == "cancelled", 10)


def test_an_acknowledged_job_survives_the_daemons_death_and_runs_again(make_daemon, tmp_path: Path) -> None:
    daemon = make_daemon().start()
    daemon.ready_worker()
    daemon.fake(job_s=60)
    running, waiting = submit(daemon, tmp_path), submit(daemon, tmp_path)
    wait_for(lambda: state(daemon, running) == "running")
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    daemon.fake(job_s=0.1)
    daemon.start()
    for job_id in (running, waiting):
        assert daemon.ask("wait", job_id=job_id, timeout_s=20)["state"] == "succeeded"
    assert daemon.ask("jobs", limit=5)["jobs"][1]["attempts"] == 2


def test_a_stopped_daemon_queues_its_running_job_again(make_daemon, tmp_path: Path) -> None:
    daemon = make_daemon().start()
    daemon.ready_worker()
    daemon.fake(job_s=60)
    job_id = submit(daemon, tmp_path)
    wait_for(lambda: state(daemon, job_id) == "running")
    daemon.ask("stop")
    assert daemon.process.wait(15) == 0
    daemon.fake()
    daemon.start()
    assert daemon.ask("wait", job_id=job_id, timeout_s=20)["state"] == "succeeded"


def test_a_job_that_always_kills_its_worker_fails_after_three_attempts_and_calls_go_on(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.ready_worker()
    daemon.fake(die_on="job")
    job_id = submit(daemon, tmp_path)
    reply = daemon.ask("wait", job_id=job_id, timeout_s=20)
    assert (reply["state"], reply["reason"], reply["attempts"]) == ("failed", "worker_died", 3)
    wait_for(lambda: daemon.ask("status")["workers"][0]["state"] == "ready", 20)
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]


def test_a_jobs_deadline_ends_it(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.ready_worker()
    daemon.fake(job_s=60)
    job_id = submit(daemon, tmp_path, deadline_s=0.5)
    reply = daemon.ask("wait", job_id=job_id, timeout_s=10)
    assert (reply["state"], reply["reason"]) == ("failed", "timeout")


def test_bad_jobs_are_refused_with_one_sentence_and_not_stored(make_daemon, tmp_path: Path) -> None:
    daemon = make_daemon(limits={"jobs": 1}).start()
    daemon.ready_worker()
    daemon.fake(job_s=60)
    wrong = [
        ("input_invalid", None),
        ("input_invalid", {**spec(tmp_path), "optoins": {}}),
        ("rejected", {**spec(tmp_path), "kind": "map.unknown"}),
        ("rejected", {**spec(tmp_path), "output": "relative/out"}),
    ]
    for code, bad in wrong:
        reply = daemon.ask("submit", spec=bad)
        assert (reply["type"], reply["code"]) == ("error", code)
    submit(daemon, tmp_path)
    assert daemon.ask("submit", spec=spec(tmp_path, "out2"))["code"] == "rejected"
    assert len(daemon.ask("jobs", limit=10)["jobs"]) == 1
    assert daemon.ask("logs", job_id="nobody")["code"] == "input_invalid"
    assert daemon.ask("fly")["code"] == "rejected"


def test_an_inbox_job_is_run_and_answered_beside_its_file(make_daemon, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    make_daemon(inbox=str(inbox)).start()
    import yaml

    (inbox / "scan.yaml").write_text(yaml.safe_dump(spec(tmp_path)))
    wait_for(lambda: (inbox / "scan.result.json").exists() or (inbox / "scan.error.txt").exists(), 30)
    assert (inbox / "scan.result.json").exists()


@pytest.mark.slow
def test_no_acknowledged_job_is_lost_over_many_kills(make_daemon, tmp_path: Path) -> None:
    daemon = make_daemon()
    daemon.fake(job_s=0.02)
    acknowledged: list[str] = []
    for round_number in range(5):
        daemon.start()
        end = time.monotonic() + 0.2 + 0.1 * round_number
        channel = daemon.connect()
        channel.receive(5)
        while time.monotonic() < end:
            channel.send({"type": "submit", "spec": spec(tmp_path)})
            reply = channel.receive(5).message
            if reply["type"] == "reply":
                acknowledged.append(reply["job_id"])
            time.sleep(0.01)
        channel.close()
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
    daemon.start()
    assert len(acknowledged) > 20
    for job_id in acknowledged:
        reply = daemon.ask("wait", job_id=job_id, timeout_s=30)
        assert (reply["state"], reply["reason"]) in (("succeeded", None), ("failed", "worker_died"))


def test_a_drained_daemon_takes_jobs_and_begins_them_when_it_resumes(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.ready_worker()
    daemon.fake(job_s=0.1)
    daemon.ask("drain")
    job_id = submit(daemon, tmp_path)
    assert daemon.ask("wait", job_id=job_id, timeout_s=1.0)["state"] == "queued"
    daemon.ask("resume")
    assert daemon.ask("wait", job_id=job_id, timeout_s=20)["state"] == "succeeded"
