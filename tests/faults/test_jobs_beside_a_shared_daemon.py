"""A user's job beside another user's daemon: his own one is started, works with his rights, and asks for the device."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon_process import wait_for
from support.other_users import OWNER, STRANGER, ServiceDaemon

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a daemon of another user"),
]
CHECK = "schema: cryobridge/job/1\nkind: check\noutput: out\n"


class Shell:
    """A user's shell beside the machine's daemon."""

    def __init__(self, folder: Path, service: ServiceDaemon) -> None:
        self.folder = folder
        self.service = service
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CRYOBRIDGE_")}
        places = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
        self.environment = {**kept, **places, "CRYOBRIDGE_SOCKET": str(service.socket)}
        (folder / "check.yaml").write_text(CHECK)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-m", "cryobridge.bridge.cli", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )

    def own_daemon(self) -> int | None:
        own = json.loads(self.run("status", "--json").stdout).get("own")
        return None if own is None else int(own["pid"])


@pytest.fixture
def shell() -> Iterator[Shell]:
    # A socket's path may have 107 bytes.
    folders = [Path(tempfile.mkdtemp(prefix="cb-")) for _ in range(2)]
    service = ServiceDaemon(folders[0])
    service.start()
    service.ready_worker()
    shell = Shell(folders[1], service)
    yield shell
    pid = shell.own_daemon()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    service.end()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_job_runs_in_a_daemon_of_its_user_on_a_device_of_the_machines(shell: Shell) -> None:
    assert shell.own_daemon() is None
    done = shell.run("submit", "check.yaml", "--wait")
    assert (done.returncode, "succeeded" in done.stdout) == (0, True), done.stderr
    job_id = done.stdout.split()[0]
    result = shell.folder / "out" / "result.json"
    assert result.stat().st_uid == os.getuid()
    assert shell.service.ask("jobs", limit=5)["jobs"] == [], "the machine's daemon knows no job of the user's"
    assert [job["job_id"] for job in json.loads(shell.run("jobs", "--json").stdout)["jobs"]] == [job_id]
    assert "succeeded" in shell.run("logs", job_id).stdout
    assert shell.run("wait", job_id).returncode == 0
    wait_for(lambda: shell.service.ask("status")["leases"] == [])


def test_while_the_machines_daemon_is_away_the_job_waits_and_goes_on_with_the_next_one(shell: Shell) -> None:
    assert shell.run("submit", "check.yaml").returncode == 0
    shell.service.end()
    assert shell.run("jobs", "--json").returncode == 3, "no daemon answers at the machine's address"
    shell.service.start()
    wait_for(lambda: json.loads(shell.run("jobs", "--json").stdout)["jobs"][0]["state"] == "succeeded", 90)


def test_a_user_with_one_job_does_not_wait_behind_anothers_many() -> None:
    folders = [Path(tempfile.mkdtemp(prefix="cb-")) for _ in range(3)]
    shared = ServiceDaemon(folders[0])
    asked = {"jobs_only": True, "landlord": str(shared.socket)}
    busy, modest = (
        ServiceDaemon(folder, uid, **asked) for folder, uid in zip(folders[1:], (OWNER, STRANGER), strict=True)
    )
    try:
        for daemon in (shared, busy, modest):
            daemon.fake(job_s=0.2)
            daemon.start()
        shared.ready_worker()
        many = [given(busy, number) for number in range(20)]
        wait_for(lambda: standing(busy, many[1])["state"] == "succeeded", 60)
        lone = given(modest, 0)
        wait_for(lambda: standing(modest, lone)["state"] == "succeeded", 60)
        mine, others = standing(modest, lone), [standing(busy, one) for one in many]
        begun = [one["started_at"] for one in others if one["started_at"] is not None]
        assert sum(mine["created_at"] < at < mine["started_at"] for at in begun) <= 2, "the one that ran, and one more"
        assert {"queued", "succeeded"} <= {one["state"] for one in others}
    finally:
        for daemon in (busy, modest, shared):
            daemon.end()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def given(daemon: ServiceDaemon, number: int) -> str:
    inputs = {half: str(daemon.folder / f"{half}.mrc") for half in ("half1", "half2")}
    output = str(daemon.folder / f"out{number}")
    spec = {"schema": "cryobridge/job/1", "kind": "map.fsc3d", "inputs": inputs, "output": output}
    return str(daemon.ask_as(daemon.uid, "submit", spec=spec)["job_id"])


def standing(daemon: ServiceDaemon, job_id: str) -> dict:
    return daemon.ask_as(daemon.uid, "wait", job_id=job_id, timeout_s=0)
