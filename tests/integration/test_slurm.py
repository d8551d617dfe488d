"""Jobs through a real daemon and a real SLURM: run, cancelled, preempted, their node lost, their daemon killed.

The cluster is a private one on this machine, see `support.slurm_cluster`.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.correction_job import correction_job
from support.daemon_process import DaemonProcess, wait_for
from support.slurm_cluster import NoSlurmError, SlurmCluster

from cryobridge.bridge.slurm.template import read_template

pytestmark = [pytest.mark.faults, pytest.mark.slow]

PATIENCE_S = 120.0
COUNTING = Path(__file__).parents[1] / "support" / "slow_steps.py"
"""The worker with a job that only counts."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    folder = Path(tempfile.mkdtemp(prefix="cb-slurm-"))
    try:
        started = SlurmCluster(folder)
    except NoSlurmError as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"no private SLURM here: {error}")
    yield started
    started.end()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_daemon(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DaemonProcess]]:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    made: list[DaemonProcess] = []

    def make(**slurm: object) -> DaemonProcess:
        # A name with a blank: whatever a folder is called, SLURM's programs are given it.
        folder = Path(tempfile.mkdtemp(prefix="cb-")) / "a b"
        folder.mkdir()
        made.append(DaemonProcess(folder, slurm={"poll_s": 0.5, "defaults": {"gpus": 0, "cpus": 1}, **slurm}))
        return made[-1].start()

    yield make
    for daemon in made:
        daemon.end()
        shutil.rmtree(daemon.folder.parent, ignore_errors=True)
    for number, _, state in cluster.jobs():
        if state in ("PENDING", "RUNNING"):
            cluster.ask("scancel", str(number))


@pytest.fixture
def counting(tmp_path: Path) -> dict[str, object]:
    """Settings with which a job counts its steps, quickly; its template is one that an operator has edited."""
    text = read_template(None).replace(
        "exec {{ command }}", f"exec {{{{ python }}}} {COUNTING} --job {{{{ job_file }}}}"
    )
    (tmp_path / "own.sbatch").write_text(text)
    return {"template": str(tmp_path / "own.sbatch")}


def submit(daemon: DaemonProcess, spec: dict[str, Any], **slurm: object) -> str:
    reply = daemon.ask("submit", spec={**spec, "run": {"executor": "slurm", "threads": 1, "slurm": slurm}})
    assert reply["type"] == "reply", reply
    return str(reply["job_id"])


def standing(daemon: DaemonProcess, job_id: str) -> dict[str, Any]:
    return daemon.ask("wait", job_id=job_id, timeout_s=0)


def ended(daemon: DaemonProcess, job_id: str) -> dict[str, Any]:
    wait_for(lambda: standing(daemon, job_id)["state"] not in ("queued", "running"), PATIENCE_S)
    return standing(daemon, job_id)


def progress(daemon: DaemonProcess, job_id: str) -> str:
    found = [one["progress"] for one in daemon.ask("ps")["processes"] if one.get("job_id") == job_id]
    return found[0]["text"] if found and found[0] else ""


def trains(daemon: DaemonProcess, job_id: str) -> bool:
    return "training " in progress(daemon, job_id)


def slurm_jobs(cluster: SlurmCluster, job_id: str) -> list[tuple[str, str]]:
    return [(name, state) for _, name, state in cluster.jobs() if job_id in name]


def test_a_job_runs_on_the_cluster_and_leaves_its_result(cluster, make_daemon, tmp_path) -> None:
    daemon = make_daemon()
    spec = {**correction_job(tmp_path), "kind": "map.fsc3d", "options": {}}
    job_id = submit(daemon, spec, time_h=0.5, memory_GB=2, extra=["--nodelist=n2"])
    reply = ended(daemon, job_id)
    assert (reply["state"], reply["attempts"]) == ("succeeded", 1), reply
    assert json.loads((tmp_path / "out" / "result.json").read_text())["kind"] == "map.fsc3d"
    assert reply["result"]["outputs"]
    lines = " ".join(daemon.ask("logs", job_id=job_id)["lines"])
    assert "progress" in lines
    wait_for(lambda: slurm_jobs(cluster, job_id) == [(f"cryobridge-{job_id}-0", "COMPLETED")])
    wait_for(lambda: list((daemon.folder / "socket.state" / "slurm").iterdir()) == [])


def test_a_running_job_stops_by_itself_when_it_is_cancelled(cluster, make_daemon, counting, tmp_path) -> None:
    daemon = make_daemon(**counting)
    job_id = submit(daemon, correction_job(tmp_path, steps=100_000))
    wait_for(lambda: trains(daemon, job_id), PATIENCE_S)
    assert standing(daemon, job_id)["state"] == "running"
    daemon.ask("cancel", job_id=job_id)
    assert ended(daemon, job_id)["state"] == "cancelled"
    # SLURM was not asked to kill it: its worker saw that it was to stop.
    wait_for(lambda: slurm_jobs(cluster, job_id)[0][1] == "FAILED")


def test_a_waiting_job_is_cancelled_at_once(cluster, make_daemon, tmp_path) -> None:
    daemon = make_daemon()
    job_id = submit(daemon, correction_job(tmp_path), extra=["--begin=now+1hour"])
    wait_for(lambda: "waits in SLURM's queue" in progress(daemon, job_id))
    assert standing(daemon, job_id)["state"] == "queued"
    daemon.ask("cancel", job_id=job_id)
    assert ended(daemon, job_id)["state"] == "cancelled"
    assert slurm_jobs(cluster, job_id) == [(f"cryobridge-{job_id}-0", "CANCELLED")]


@pytest.mark.parametrize("node_is", ["dead", "cut off"])
def test_a_job_that_loses_its_node_goes_on_on_another(cluster, make_daemon, counting, tmp_path, node_is: str) -> None:
    daemon = make_daemon(**counting)
    job_id = submit(daemon, correction_job(tmp_path, steps=100))
    wait_for(lambda: trains(daemon, job_id), PATIENCE_S)
    node = cluster.ask("squeue", "-h", "--states=running", "--format=%N").strip()
    cluster.kill_node(node, with_its_jobs=node_is == "dead")
    cluster.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        reply = ended(daemon, job_id)
    finally:
        cluster.start_node(node)
        cluster.ask("scontrol", "update", f"nodename={node}", "state=resume")
    assert (reply["state"], reply["attempts"]) == ("succeeded", 2), reply
    assert "lost its node" in " ".join(daemon.ask("logs", job_id=job_id)["lines"])
    wait_for(lambda: [state for _, state in slurm_jobs(cluster, job_id)] == ["NODE_FAIL", "COMPLETED"])
    first, second = (tmp_path / "out" / "runs.txt").read_text().splitlines()
    assert first == "from 0"
    assert second != "from 0"
    # A worker that lives on such a node stops by itself: nobody follows it any more.
    wait_for(lambda: cluster.processes_on(node) == [])


def test_a_preempted_job_goes_on_when_there_is_room_again(cluster, make_daemon, counting, tmp_path) -> None:
    daemon = make_daemon(**counting)
    job_id = submit(daemon, correction_job(tmp_path, steps=100))
    wait_for(lambda: trains(daemon, job_id), PATIENCE_S)
    cluster.ask("sbatch", "-p", "urgent", "-N", "2", "--exclusive", "--wrap", "sleep 2", "-o", "/dev/null")
    wait_for(lambda: len(slurm_jobs(cluster, job_id)) == 2, PATIENCE_S)
    reply = ended(daemon, job_id)
    assert (reply["state"], reply["attempts"]) == ("succeeded", 1), reply
    wait_for(lambda: [state for _, state in slurm_jobs(cluster, job_id)] == ["PREEMPTED", "COMPLETED"])
    assert len((tmp_path / "out" / "runs.txt").read_text().splitlines()) == 2


def test_a_daemon_that_is_killed_before_it_knows_the_number_submits_nothing_twice(
    cluster, make_daemon, counting, tmp_path
) -> None:
    slow = tmp_path / "slow-sbatch"
    slow.write_text('#!/bin/sh\nsbatch "$@" >/dev/null\nexec sleep 600\n')
    slow.chmod(0o755)
    daemon = make_daemon(**counting, submit=str(slow))
    job_id = submit(daemon, correction_job(tmp_path, steps=40))
    wait_for(lambda: slurm_jobs(cluster, job_id))
    sleeper = psutil.Process(daemon.process.pid).children()
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    for process in sleeper:
        process.kill()
    settings = (daemon.folder / "config.yaml").read_text().replace(str(slow), "sbatch")
    (daemon.folder / "config.yaml").write_text(settings)
    daemon.start()
    reply = ended(daemon, job_id)
    assert (reply["state"], reply["attempts"]) == ("succeeded", 1), reply
    assert [name for name, _ in slurm_jobs(cluster, job_id)] == [f"cryobridge-{job_id}-0"]
    assert (tmp_path / "out" / "runs.txt").read_text() == "from 0\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_the_next_daemon_follows_the_job_of_one_that_has_ended(
    cluster, make_daemon, counting, tmp_path, number: signal.Signals
) -> None:
    daemon = make_daemon(**counting)
    job_id = submit(daemon, correction_job(tmp_path, steps=100))
    wait_for(lambda: trains(daemon, job_id), PATIENCE_S)
    daemon.signal(number)
    daemon.process.wait(20)
    daemon.start()
    wait_for(lambda: standing(daemon, job_id)["state"] == "running")
    reply = ended(daemon, job_id)
    assert (reply["state"], reply["attempts"]) == ("succeeded", 1), reply
    wait_for(lambda: slurm_jobs(cluster, job_id) == [(f"cryobridge-{job_id}-0", "COMPLETED")])
    assert (tmp_path / "out" / "runs.txt").read_text() == "from 0\n"


def test_what_has_ended_without_a_daemon_is_taken_as_ended(cluster, make_daemon, counting, tmp_path) -> None:
    daemon = make_daemon(**counting)
    job_id = submit(daemon, correction_job(tmp_path, steps=60))
    wait_for(lambda: trains(daemon, job_id), PATIENCE_S)
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    wait_for(lambda: slurm_jobs(cluster, job_id)[0][1] == "COMPLETED", PATIENCE_S)
    daemon.start()
    reply = ended(daemon, job_id)
    assert (reply["state"], reply["attempts"], reply["result"]) == ("succeeded", 1, {"steps": 60})
    assert (tmp_path / "out" / "runs.txt").read_text() == "from 0\n"


def test_several_processes_train_together(cluster, make_daemon, tmp_path) -> None:
    daemon = make_daemon()
    job_id = submit(daemon, correction_job(tmp_path, batch=4), gpus=2, cpus=2)
    reply = ended(daemon, job_id)
    assert reply["state"] == "succeeded", reply
    assert (tmp_path / "out" / "corrected.mrc").exists()


def test_what_slurm_refuses_has_failed_with_its_words(cluster, make_daemon, tmp_path) -> None:
    daemon = make_daemon()
    reply = ended(daemon, submit(daemon, correction_job(tmp_path), partition="nowhere"))
    assert (reply["state"], reply["reason"]) == ("failed", "rejected")
    assert "invalid partition specified: nowhere" in reply["text"]
