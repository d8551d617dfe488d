"""The daemon's log, read back for people: last lines, times, rotation, what is no log."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.scripted_daemon import scripted_daemon

from cryobridge.bridge import cli
from cryobridge.bridge.log_file import DaemonLog, shown
from cryobridge.schemas.errors import InputInvalid


def entry(event: str, **fields: object) -> str:
    told = {"time": "2026-01-02T03:04:05.678Z", "level": "info", "logger": "x", "event": event, **fields}
    return json.dumps(told) + "\n"


def test_a_line_is_shown_with_its_time_level_event_and_fields() -> None:
    line = shown(entry("iteration decided", job_id="ab12", line="not due", halves=[1, 2]).encode())
    assert line.endswith('info    iteration decided job_id=ab12 line="not due" halves="[1, 2]"')
    assert line.startswith("2026-01-0")


@pytest.mark.parametrize("line", [b"", b"no json", b"[1]", b'{"time": 3}', b"[" * 10_000, b"\xff"])
def test_what_is_no_entry_is_shown_as_it_is(line: bytes) -> None:
    assert shown(line) == line.decode("utf-8", "replace")


def test_the_last_lines_come_from_the_rotated_file_too(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text(entry("one") + entry("two"))
    (tmp_path / "log").write_text(entry("three"))
    log = DaemonLog(tmp_path / "log")
    assert [line.split()[-1] for line in log.last(2)] == ["two", "three"]
    log.close()


def test_following_waits_for_whole_lines_and_goes_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(entry("one"))
    log = DaemonLog(path)
    assert len(log.last(5)) == 1
    with path.open("a") as stream:
        stream.write(entry("two")[:20])
        stream.flush()
        assert list(log.new_lines()) == []
        stream.write(entry("two")[20:] + entry("three"))
    path.rename(tmp_path / "log.1")
    path.write_text(entry("four"))
    assert [line.split()[-1] for line in log.new_lines()] == ["two", "three", "four"]
    log.close()


@pytest.mark.parametrize("make", [lambda path: None, os.mkfifo, Path.mkdir], ids=["absent", "fifo", "folder"])
def test_what_is_no_log_is_one_sentence(tmp_path: Path, make) -> None:
    make(tmp_path / "log")
    with pytest.raises(InputInvalid, match="log"):
        DaemonLog(tmp_path / "log")


@pytest.mark.parametrize("running", [True, False])
def test_logs_without_an_id_shows_the_end_of_the_daemons_log(
    tmp_path: Path, running: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "daemon.log").write_text("".join(entry(f"event {number}") for number in range(9)))
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(tmp_path / "socket"))
    if running:
        with scripted_daemon(tmp_path / "socket") as daemon:
            daemon.replies("status", state_dir=str(tmp_path / "state"))
            assert cli.run(["logs", "-n", "3"]) == 0
    else:
        monkeypatch.setenv("CRYOBRIDGE_STATE_DIR", str(tmp_path / "state"))
        assert cli.run(["logs", "-n", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[-7:] for line in lines] == ["event 6", "event 7", "event 8"]
