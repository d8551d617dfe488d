"""A daemon that cannot start says why in one sentence; one whose jobs were damaged starts, and says so until seen."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, call_both, wait_for

pytestmark = pytest.mark.faults
SPEC = {
    "schema": "cryobridge/job/1",
    "kind": "map.fsc3d",
    "inputs": {"half1": "/data/one.mrc", "half2": "/data/two.mrc"},
    "output": "/data/out",
}


def harm_first_page(database: Path) -> None:
    with database.open("r+b") as stream:
        stream.write(os.urandom(4096))


def harm_log(database: Path) -> None:
    log = Path(f"{database}-wal")
    log.write_bytes(os.urandom(log.stat().st_size))


@pytest.mark.parametrize(
    ("harm", "jobs"),
    [(harm_first_page, 1), (lambda path: os.truncate(path, 0), 0)],
    ids=["first page", "emptied"],
)
def test_with_a_damaged_database_it_starts_answers_calls_and_says_so_until_it_is_seen(
    daemon: DaemonProcess, harm: Callable[[Path], None], jobs: int
) -> None:
    daemon.ask("submit", spec=SPEC)
    daemon.ask("stop")
    assert daemon.process.wait(15) == 0
    state = daemon.folder / "socket.state"
    harm(state / "jobs.sqlite")
    for _ in range(2):
        daemon.start()
        status = daemon.ask("status")
        assert status["health"]["ready"]
        assert status["health"]["degraded"]
        assert "job database" in status["health"]["problems"][0]
        assert len(daemon.ask("jobs")["jobs"]) == jobs
        daemon.ask("stop")
        assert daemon.process.wait(15) == 0
    assert "the job database was damaged" in (state / "daemon.log").read_text()
    (note,) = state.glob("*.damaged-*.txt")
    note.unlink()
    daemon.start()
    assert not daemon.ask("status")["health"]["degraded"]
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]


def test_a_killed_daemons_log_of_garbage_does_not_look_well(daemon: DaemonProcess) -> None:
    daemon.ask("submit", spec=SPEC)
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    harm_log(daemon.folder / "socket.state" / "jobs.sqlite")
    daemon.start()
    assert daemon.ask("status")["health"]["degraded"]


def put_folder(daemon: DaemonProcess) -> None:
    daemon.socket.mkdir()


def put_file(daemon: DaemonProcess) -> None:
    daemon.socket.write_text("a map")


def lengthen(daemon: DaemonProcess) -> None:
    daemon.socket = daemon.folder / ("x" * 120)


def put_log_folder(daemon: DaemonProcess) -> None:
    (daemon.folder / "socket.state" / "daemon.log").mkdir(parents=True)


def put_state_file(daemon: DaemonProcess) -> None:
    (daemon.folder / "socket.state").touch()


@pytest.mark.parametrize("prepare", [put_folder, put_file, lengthen, put_log_folder, put_state_file])
def test_what_keeps_it_from_starting_is_one_sentence_and_a_status(
    make_daemon: Callable[..., DaemonProcess], prepare: Callable[[DaemonProcess], None]
) -> None:
    daemon = make_daemon()
    prepare(daemon)
    daemon.process = daemon.launch()
    wait_for(lambda: daemon.process.poll() is not None, 30)
    assert daemon.process.returncode == 1
    said = daemon.output().strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("cryobridge: ")
