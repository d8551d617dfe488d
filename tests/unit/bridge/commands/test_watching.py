"""Commands that watch a daemon and operate it: what they print of its news, and their exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripted_daemon import ScriptedDaemon, scripted_daemon

from cryobridge.bridge import cli
from cryobridge.schemas.news import NewsEvent, Snapshot
from cryobridge.schemas.requests import AskStatus

JOB = {"job_id": "abc", "kind": "map.fsc3d", "uid": os.getuid(), "state": "running", "worker": "worker-0"}
TABLES: dict[str, dict[str, Any]] = {
    "daemon": {"daemon": {"state": "ready", "version": "9.9", "started_at": 0.0}},
    "health": {"health": {"live": True, "ready": True, "degraded": True, "problems": ["gpu0: [red]\x1b[31m broke"]}},
    "counts": {
        "queue": {"interactive": 1, "batch": 4},
        "calls": {"corrected": 5, "standard": 6, "fallback": 7},
        "open": {"calls": 2, "refinements": 1},
    },
    "workers": {
        "worker-0": {"name": "worker-0", "device": "cuda:GPU-1", "device_name": "H100", "state": "ready", "busy": True},
        "worker-1": {"name": "worker-1", "device": "cuda:GPU-2", "device_name": "H200", "state": "ready", "busy": True},
    },
    "refinements": {"/p/run": {"session": "/p/run", "uid": 0, "iteration": 7, "last": "corrected", "corrected": 3}},
    "jobs": {
        "abc": {**JOB, "progress": {"text": "epoch 3", "fraction": 0.5}},
        "def": {**JOB, "job_id": "def", "state": "queued", "worker": None},
    },
    "fallback": {"last": {"at": 0, "session": "/p/run", "iteration": 4, "line": "out of memory", "uid": 0}},
}


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedDaemon]:
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(tmp_path / "socket"))
    with scripted_daemon(tmp_path / "socket") as running:
        yield running


def tells(daemon: ScriptedDaemon, *events: NewsEvent) -> None:
    frames = [Snapshot(number=1, at=1.0, tables=TABLES), *events]
    daemon.answers["follow"] = lambda _: [frame.as_message() for frame in frames]


def event(number: int, what: str, name: str = "abc", **row: Any) -> NewsEvent:
    return NewsEvent(number=number, at=2.0, what=what, table="jobs", name=name, row={**JOB, **row})


def test_top_in_a_pipe_shows_devices_work_refinements_queue_and_what_is_wrong(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    tells(daemon)
    assert cli.run(["top"]) == 0
    assert daemon.requests == [{"type": "follow", "once": True}]
    out = capsys.readouterr().out
    lines = {" ".join(line.split()) for line in out.splitlines()}
    me = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert any("cryobridge 9.9 ready" in line and "2 under way" in line and "7 fallback" in line for line in lines)
    assert any(f"{'█' * 12}{'░' * 12} 50% {me}: map.fsc3d abc: epoch 3" in line for line in lines)
    assert any(line.startswith("H200") and line.endswith("others' work") for line in lines)
    assert any(line.startswith("/p/run root 7 3") for line in lines)
    assert any("/p/run, iteration 4: out of memory" in line for line in lines)
    assert {f"{me} 1 1", "others - 4", "problem: gpu0: [red]?[31m broke"} <= lines


def test_top_as_json_once_is_the_snapshot_alone(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    tells(daemon)
    assert cli.run(["top", "--json", "--once"]) == 0
    (snapshot,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (snapshot["type"], snapshot["tables"]) == ("snapshot", TABLES)


def test_following_a_log_reads_it_again_only_when_something_was_booked_for_that_job(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [event(2, "job_noted", "other"), event(3, "job_progress"), event(4, "job_progress")]
    tells(daemon, *others, event(5, "job_noted"), event(6, "job_progress"), event(7, "job_ended"))
    texts = iter([["one"], ["one", "two"], ["one", "two", "three"]])
    states = iter(["running", "running", "succeeded"])
    daemon.answers["logs"] = lambda _: {"type": "reply", "ok": True, "job_id": "abc", "lines": next(texts)}
    daemon.answers["wait"] = lambda _: {"type": "reply", "ok": True, "state": next(states)}
    assert cli.run(["logs", "-f", "ab"]) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    assert [request["type"] for request in daemon.requests].count("logs") == 3


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["succeeded", "succeeded"], 0),
        (["succeeded", "failed"], 1),
        (["failed", "running"], 1),
        (["running", "succeeded"], 4),
    ],
)
def test_waiting_for_several_jobs_gives_the_worst_of_their_ends(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], states: list[str], code: int
) -> None:
    ends = dict(zip("ab", states, strict=True))
    daemon.answers["wait"] = lambda request: {"type": "reply", "ok": True, "state": ends[request["job_id"]]}
    assert cli.run(["wait", "a", "b", "--timeout", "0", "--json"]) == code
    said = [job["state"] for job in json.loads(capsys.readouterr().out)["jobs"]]
    assert said == [state if state != "running" else "unfinished" for state in states]
    assert cli.run(["wait", "a", "b", "--timeout", "0"]) == code
    output = capsys.readouterr()
    assert len((output.out + output.err).splitlines()) == 2


def test_jobs_are_asked_for_by_state_and_kind_and_others_are_named(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.replies("jobs", jobs=[{"job_id": "7", "uid": 987654, "output": "/o"}, {"job_id": "8", "uid": os.getuid()}])
    assert cli.run(["jobs", "--mine", "--state", "failed", "--kind", "map.correct"]) == 0
    assert daemon.requests == [
        {"type": "jobs", "limit": 20, "mine": True, "state": "failed", "kind": "map.correct"},
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-2:] == ["USER", "OUTPUT"]
    assert lines[1].split()[-3:] == ["user", "987654", "/o"]
    assert cli.run(["jobs", "--state", "lost"]) == 2


def test_unloading_all_lets_each_refinement_go_that_the_user_may_see(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.replies(
        "ps", processes=[], sessions=[{"session": "/p/run"}, {"session": "/q/gone"}, {"session": "5:/r/run"}]
    )

    def release(request: dict[str, Any]) -> dict[str, Any]:
        if request["session"] == "/q/gone":
            return {"type": "error", "code": "input_invalid", "text": "there is no refinement /q/gone"}
        return {"type": "reply", "ok": True, "session": request["session"], "released": True}

    daemon.answers["release"] = release
    assert cli.run(["unload", "--all"]) == 0
    assert capsys.readouterr().out == "/p/run: let go\n5:/r/run: let go\n"
    assert cli.run(["unload", "/p/run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"released": ["/p/run"]}
    assert cli.run(["unload", "/q/gone"]) == 1
    assert cli.run(["unload"]) == cli.run(["unload", "/p/run", "--all"]) == 2


def test_resume_metrics_and_the_running_configuration_are_what_the_daemon_says(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.replies("resume", state="ready")
    daemon.replies("metrics", text="cryobridge_up 1.0\n")
    daemon.replies("config", settings={"log_level": {"value": "DEBUG", "origin": "file /etc/x"}})
    assert cli.run(["resume"]) == cli.run(["metrics"]) == cli.run(["config", "show", "--running"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["calls are taken again", "cryobridge_up 1.0"]
    assert out[3].split() == ["log_level", "DEBUG", "file", "/etc/x"]
    assert cli.run(["config", "show", "--running", "--config", "x"]) == 2


@pytest.mark.parametrize(
    ("state", "health", "live", "ready"),
    [
        ("ready", {"ready": True, "problems": []}, 0, 0),
        ("ready", {"ready": True, "problems": ["a worker restarts"]}, 0, 0),
        ("ready", {"ready": False, "problems": ["no worker can start"]}, 0, 4),
        ("draining", {"ready": False, "problems": []}, 0, 4),
        ("busy", {"ready": True, "problems": []}, 0, 4),
    ],
)
def test_probes_are_answered_from_the_greeting_and_the_health(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    state: str,
    health: dict[str, Any],
    live: int,
    ready: int,
) -> None:
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(tmp_path / "socket"))
    with scripted_daemon(tmp_path / "socket", state=state) as daemon:
        daemon.replies("status", state="draining" if state == "draining" else "ready", health=health)
        assert cli.run(["live"]) == live
        assert daemon.requests == []
        assert cli.run(["ready"]) == ready
        assert cli.run(["ready", "--json"]) == ready
    words = capsys.readouterr().out.splitlines()
    assert words[1].startswith("ready" if ready == 0 else "not ready: ")
    assert json.loads(words[2])["ready"] is (ready == 0)
    assert cli.run(["live"]) == cli.run(["ready", "--json"]) == 3


def test_probes_load_neither_pydantic_nor_click() -> None:
    code = (
        "import sys\nfrom cryobridge.bridge import cli\ncode = cli.run(['ready'])\n"
        "sys.exit(code if not {'pydantic', 'click', 'rich', 'yaml'} & sys.modules.keys() else 99)"
    )
    environment = {**os.environ, "CRYOBRIDGE_SOCKET": "/nowhere/socket"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).returncode == 3


def test_the_daemons_own_log_is_not_looked_for_elsewhere_where_the_daemon_does_not_say_where_it_is(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.replies(AskStatus.type, state="ready")
    assert cli.run(["logs"]) == 1
    assert "for root, its user and its operators" in capsys.readouterr().err


def own_the_terminal() -> None:
    """In the child: Ctrl-C on its terminal reaches it, also where the tests run in the background of a shell."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_a_terminal(key: bytes) -> tuple[int, str]:
    """Run `top` on a terminal of its own, press a key once it has drawn; how it ended and what it showed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cryobridge.bridge.cli", "top"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "40"},
        start_new_session=True,
        preexec_fn=own_the_terminal,
    )
    os.close(follower)
    shown, pressed, end = b"", False, time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:
                break
        if b"H100" in shown and not pressed:
            pressed = True
            os.write(leader, key)
    os.close(leader)
    return process.wait(10), shown.decode(errors="replace")


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_top_on_a_terminal_draws_until_a_key_ends_it_and_leaves_the_terminal_as_it_was(
    daemon: ScriptedDaemon, key: bytes
) -> None:
    tells(daemon)
    code, shown = on_a_terminal(key)
    assert code == 0
    assert shown.index("\x1b[?1049h") < shown.index("H100") < shown.rindex("\x1b[?1049l")


def test_status_says_what_everybody_is_told_and_leaves_out_what_is_not(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = {"name": "worker-0", "device": "cpu", "device_name": "Xeon", "state": "ready", "busy": True}
    daemon.replies("status", state="ready", version="1", uptime_s=5, workers=[worker], health={"problems": []})
    assert cli.run(["status"]) == 0
    out = capsys.readouterr().out
    assert "worker cpu: ready, Xeon, busy\n" in out
    assert not any(line.startswith(("pid", "socket")) for line in out.splitlines())
