"""A shared daemon and a user's own beside it: devices are lent, calls come first, and nothing is lost with either."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, call_both, wait_for

pytestmark = pytest.mark.faults


def spec(folder: Path, name: str = "out", **run) -> dict:
    folder.mkdir(exist_ok=True)
    for half in ("a.mrc", "b.mrc"):
        (folder / half).touch()
    return {
        "schema": "cryobridge/job/1",
        "kind": "map.fsc3d",
        "inputs": {"half1": str(folder / "a.mrc"), "half2": str(folder / "b.mrc")},
        "output": str(folder / name),
        "run": run,
    }


class Machine:
    """A shared daemon, and two users' own ones."""

    def __init__(self, make_daemon, folder: Path, **lending) -> None:
        self.folder = folder
        self.shared: DaemonProcess = make_daemon(lending={"give_way_s": 5.0, **lending}).start()
        self.shared.ready_worker()
        self.own = [make_daemon(jobs_only=True, landlord=str(self.shared.socket)).start() for _ in range(2)]

    def submit(self, number: int = 0, **run) -> str:
        reply = self.own[number].ask("submit", spec=spec(self.folder / "jobs", **run))
        assert reply["type"] == "reply", reply
        return reply["job_id"]

    def state(self, job_id: str, number: int = 0) -> str:
        return self.own[number].ask("wait", job_id=job_id, timeout_s=0)["state"]

    def ends(self, job_id: str, number: int = 0) -> str:
        return self.own[number].ask("wait", job_id=job_id, timeout_s=30)["state"]

    def leases(self) -> list[str]:
        return sorted(one["state"] for one in self.shared.ask("status")["leases"])

    def fake(self, **behaviour) -> None:
        for daemon in self.own:
            daemon.fake(**behaviour)


@pytest.fixture
def machine(make_daemon, tmp_path: Path) -> Machine:
    return Machine(make_daemon, tmp_path)


def test_jobs_of_two_users_run_one_after_another_on_the_one_device(machine: Machine) -> None:
    machine.fake(job_s=3.0)
    first, second = machine.submit(0), machine.submit(1)
    wait_for(lambda: machine.leases() == ["active", "waiting"])
    wait_for(lambda: sorted((machine.state(first, 0), machine.state(second, 1))) == ["queued", "running"])
    assert (machine.ends(first, 0), machine.ends(second, 1)) == ("succeeded", "succeeded")
    wait_for(lambda: machine.leases() == [])


def test_a_call_does_not_wait_behind_a_users_job_and_the_job_goes_on_afterwards(machine: Machine) -> None:
    machine.fake(job_s=4.0)
    machine.shared.fake(half_s=0.5, correct_s=0.5)
    job_id = machine.submit()
    wait_for(lambda: machine.state(job_id) == "running")
    hooks = call_both(machine.shared)
    wait_for(lambda: machine.leases() == ["aside"])
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]
    wait_for(lambda: machine.leases() == ["active"])
    assert machine.ends(job_id) == "succeeded"
    assert machine.own[0].ask("jobs", limit=1)["jobs"][0]["attempts"] == 1


def test_a_job_that_does_not_leave_holds_a_call_up_only_for_a_while(make_daemon, tmp_path: Path) -> None:
    machine = Machine(make_daemon, tmp_path, give_way_s=0.5)
    machine.fake(job_s=20.0, stays=True)
    job_id = machine.submit()
    wait_for(lambda: machine.state(job_id) == "running")
    hooks = call_both(machine.shared)
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]


def test_an_interactive_job_goes_before_another_users_batch_job(machine: Machine) -> None:
    machine.fake(job_s=3.0)
    long = machine.submit(0)
    wait_for(lambda: machine.state(long, 0) == "running")
    machine.own[1].fake(job_s=0.2)
    quick = machine.submit(1, priority="interactive")
    assert machine.ends(quick, 1) == "succeeded"
    assert machine.state(long, 0) == "running"
    assert machine.ends(long, 0) == "succeeded"


def test_a_job_that_stands_aside_can_be_cancelled_at_once(machine: Machine) -> None:
    machine.fake(job_s=30.0)
    machine.shared.fake(half_s=6.0)
    job_id = machine.submit()
    wait_for(lambda: machine.state(job_id) == "running")
    call_both(machine.shared)
    wait_for(lambda: machine.leases() == ["aside"])
    machine.own[0].ask("cancel", job_id=job_id)
    wait_for(lambda: machine.state(job_id) == "cancelled", 3)
    wait_for(lambda: machine.leases() == [], 3)


def test_when_the_shared_daemon_is_killed_jobs_wait_and_go_on_with_the_next_one(machine: Machine) -> None:
    machine.fake(job_s=3.0)
    job_id = machine.submit()
    wait_for(lambda: machine.state(job_id) == "running")
    machine.shared.signal(signal.SIGKILL)
    machine.shared.process.wait()
    wait_for(lambda: machine.own[0].ask("status")["health"]["degraded"])
    machine.shared.start()
    assert machine.ends(job_id) == "succeeded"
    assert machine.own[0].ask("jobs", limit=1)["jobs"][0]["attempts"] == 1
    assert not machine.own[0].ask("status")["health"]["degraded"]


def test_when_a_users_daemon_is_killed_its_device_is_free_and_its_job_runs_again(machine: Machine) -> None:
    machine.fake(job_s=30.0)
    job_id = machine.submit(0)
    wait_for(lambda: machine.state(job_id, 0) == "running")
    machine.own[0].signal(signal.SIGKILL)
    machine.own[0].process.wait()
    machine.fake(job_s=0.1)
    assert machine.ends(machine.submit(1), 1) == "succeeded"
    machine.own[0].start()
    assert machine.ends(job_id, 0) == "succeeded"


def test_a_worker_that_dies_costs_an_attempt_and_the_device_is_given_back(machine: Machine) -> None:
    machine.fake(die_on="job")
    job_id = machine.submit()
    assert machine.ends(job_id) == "failed"
    assert machine.own[0].ask("jobs", limit=1)["jobs"][0]["attempts"] == 3
    wait_for(lambda: machine.leases() == [])


def test_a_device_that_the_machine_does_not_have_fails_the_job_in_one_sentence(machine: Machine) -> None:
    job_id = machine.submit(devices="gpu")
    assert machine.ends(job_id) == "failed"
    assert "workers for cpu only" in machine.own[0].ask("wait", job_id=job_id, timeout_s=0)["text"]


def test_a_daemon_for_jobs_answers_no_calls(machine: Machine) -> None:
    hook = call_both(machine.own[0])[0]
    hook.join(10)
    assert hook.lost == "busy"


def test_a_shared_daemon_that_drains_grants_nothing_and_leaves_what_runs(machine: Machine) -> None:
    machine.fake(job_s=2.0)
    first = machine.submit(0)
    wait_for(lambda: machine.state(first, 0) == "running")
    machine.shared.ask("drain")
    second = machine.submit(1)
    assert machine.ends(first, 0) == "succeeded"
    assert machine.leases() == ["waiting"]
    assert machine.state(second, 1) == "queued"
