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
from support.other_users import ServiceDaemon

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
