"""The commands: what they print where, and the exit code, for every answer of a daemon and for none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripted_daemon import ScriptedDaemon, scripted_daemon

from cryobridge import __version__
from cryobridge.bridge import cli, foreground
from cryobridge.bridge.commands import daemon as daemon_commands
from cryobridge.bridge.commands import jobs, kinds

JOB = "schema: cryobridge/job/1\nkind: map.fsc3d\ninputs: {half1: a.mrc, half2: b.mrc}\noutput: out\n"
STATUS: dict[str, Any] = {
    "state": "ready",
    "version": __version__,
    "daemon_id": "1",
    "pid": 12,
    "uptime_s": 3725,
    "socket": "/run/x",
    "workers": [
        {"device": "cpu", "device_name": "Xeon", "pid": 13, "state": "ready", "rss_bytes": 2.5e9, "task": None}
    ],
    "health": {"problems": []},
    "sessions": [{}],
    "queue": {"interactive": 0, "batch": 2},
    "last_fallback": None,
}


@pytest.fixture(autouse=True)
def no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test looks for its daemon at a place of its own."""
    path = tmp_path / "socket"
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(path))
    return path


@pytest.fixture
def daemon(no_daemon: Path) -> Iterator[ScriptedDaemon]:
    with scripted_daemon(no_daemon) as running:
        yield running


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    for name in ("a.mrc", "b.mrc"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path / "job.yaml"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"cryobridge {__version__}\n"


QUIET = [["resume"], ["top"], ["unload", "--all"], ["metrics"], ["wait", "1", "2"], ["config", "show", "--running"]]


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["ps"], ["jobs"], ["logs", "1"], ["cancel", "1"], ["wait", "1"], ["drain"], ["stop"], *QUIET],
    ids=lambda arguments: arguments[0],
)
def test_without_a_daemon_each_command_says_what_to_do(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert "start one with 'cryobridge serve'" in output.err
    assert output.err.count("\n") == 1


def test_status_as_json_without_a_daemon_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["state"] == "not running"


def test_status_of_a_daemon_that_is_well(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.replies("status", **STATUS)
    assert cli.run(["status"]) == 0
    out = capsys.readouterr().out
    for words in ("ready", __version__, "1 h 2 min", "interactive 0, batch 2", "worker cpu: ready, Xeon, 2.5 GB"):
        assert words in out
    assert cli.run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**STATUS, "problems": []}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"state": "draining"}, "problem: the daemon is draining"),
        ({"health": {"problems": ["gpu0: CUDA error"]}}, "problem: gpu0: CUDA error"),
    ],
)
def test_status_of_a_degraded_daemon_is_exit_4(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], change: dict[str, Any], problem: str
) -> None:
    daemon.replies("status", **{**STATUS, **change})
    assert cli.run(["status"]) == 4
    assert problem in capsys.readouterr().out


def test_submit_prints_the_id_and_nothing_else(
    daemon: ScriptedDaemon, job_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.replies("submit", job_id="42")
    assert cli.run(["submit", str(job_file)]) == 0
    assert capsys.readouterr() == ("42\n", "")
    spec = daemon.requests[0]["spec"]
    assert spec["inputs"]["half1"] == str(job_file.parent / "a.mrc")
    # What was not chosen is left to the worker.
    assert spec["options"] == {}


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_waiting_gives_the_end_as_exit_code(
    daemon: ScriptedDaemon, job_file: Path, capsys: pytest.CaptureFixture[str], state: str, code: int
) -> None:
    daemon.replies("submit", job_id="42")
    daemon.replies("wait", state=state, reason="oom", text="not enough memory")
    assert cli.run(["submit", "--wait", str(job_file)]) == code
    output = capsys.readouterr()
    assert "oom: not enough memory" in output.out + output.err
    assert cli.run(["wait", "42", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["state"] == state


def test_a_wait_that_is_too_long_says_the_job_goes_on(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.replies("wait", state="running")
    assert cli.run(["wait", "42", "--timeout", "0"]) == 4
    assert "still running" in capsys.readouterr().err


def test_a_refusal_is_one_sentence_and_exit_1(
    daemon: ScriptedDaemon, job_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers["submit"] = lambda _: {"type": "error", "code": "rejected", "text": "the queue is full"}
    assert cli.run(["submit", str(job_file)]) == 1
    assert capsys.readouterr().err == "cryobridge: the queue is full\n"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.write_text(JOB.replace("half1", "haf1")), "did you mean 'inputs.half1'?"),
        (lambda file: file.write_text("schema"), "a job is a list of 'key: value' lines"),
        (lambda file: file.unlink(), "job.yaml: cannot be read: No such file"),
        (lambda file: (file.parent / "b.mrc").unlink(), "b.mrc (half2) does not exist"),
        (
            lambda file: ((file.parent / "out").mkdir(), (file.parent / "out" / "result.json").write_text("{}")),
            "holds a finished result",
        ),
    ],
    ids=["key", "text", "no file", "no map", "finished"],
)
@pytest.mark.parametrize("command", ["submit", "run"])
def test_a_bad_job_is_refused_before_anything_is_started(
    daemon: ScriptedDaemon,
    job_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    spoil: Any,
    sentence: str,
) -> None:
    monkeypatch.setattr(jobs, "run_in_foreground", lambda _: pytest.fail("was started"))
    spoil(job_file)
    before = {path: path.read_bytes() for path in job_file.parent.rglob("*") if path.is_file()}
    assert cli.run([command, str(job_file)]) == 1
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.err.count("\n") == 1
    assert daemon.requests == []
    assert {path: path.read_bytes() for path in job_file.parent.rglob("*") if path.is_file()} == before


def test_cancel_says_what_each_job_was(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    states = {"1": "running", "2": "succeeded", "3": "cancelled"}
    daemon.answers["cancel"] = lambda request: {"type": "reply", "ok": True, "state": states[request["job_id"]]}
    assert cli.run(["cancel", "1", "2", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1: stops at its next step",
        "2: had succeeded already",
        "3: cancelled",
    ]


def test_jobs_are_a_table_or_json(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"job_id": "7", "kind": "map.fsc3d", "state": "failed", "reason": "oom", "output": "/a [red]\x1b[31m"}
    daemon.replies("jobs", jobs=[row])
    assert cli.run(["jobs", "--limit", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["JOB_ID", "KIND", "STATE", "REASON"]
    assert lines[1].split()[:4] == ["7", "map.fsc3d", "failed", "oom"]
    assert "/a [red]?[31m" in lines[1]
    assert daemon.requests == [{"type": "jobs", "limit": 5, "mine": False}]
    assert cli.run(["jobs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"jobs": [row]}
    daemon.replies("jobs", jobs=[])
    assert cli.run(["jobs"]) == 0
    assert capsys.readouterr().out == "no jobs yet\n"


def test_ps_shows_what_runs_and_what_is_warm(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    iteration = {"job_id": "a", "kind": "relion.reconstruct", "session": "/p/run", "iteration": 7, "state": "running"}
    job = {"job_id": "b", "kind": "map.fsc3d", "state": "queued", "progress": {"text": "reading", "fraction": 0.1}}
    warm = {"session": "/p/run", "iteration": 7, "corrected": 3, "standard": 4, "failed": 0, "last": "ok", "idle_s": 61}
    daemon.replies("ps", processes=[{**iteration, "halves": {"1": "waiting"}}, job], sessions=[warm])
    assert cli.run(["ps"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[1].split()) == "a relion.reconstruct running /p/run iteration 7: half 1 waiting"
    assert lines[2].split() == ["b", "map.fsc3d", "queued", "reading"]
    assert lines[5].split() == ["/p/run", "7", "3", "4", "0", "ok", "1", "min", "1", "s"]
    daemon.replies("ps", processes=[], sessions=[])
    assert cli.run(["ps"]) == 0
    assert capsys.readouterr().out == "nothing runs\n"


def test_the_last_fallback_is_told(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    fallback = {"at": 0, "session": "/p/run", "iteration": 3, "code": "oom", "line": "standard map: out of memory"}
    daemon.replies("status", **{**STATUS, "last_fallback": fallback})
    assert cli.run(["status"]) == 0
    assert "/p/run, iteration 3: standard map: out of memory" in capsys.readouterr().out


def test_stop_waits_until_the_daemon_is_gone(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    def leave(_: dict[str, Any]) -> dict[str, Any]:
        daemon.path.unlink()
        return {"type": "reply", "ok": True}

    daemon.answers["stop"] = leave
    assert cli.run(["stop"]) == 0
    assert capsys.readouterr().out == "stopped\n"


def test_stop_gives_up_waiting_and_says_how_to_end_it(
    daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_commands, "STOP_WAIT_S", 0.0)
    daemon.replies("stop")
    assert cli.run(["stop"]) == 1
    assert "end it with 'kill 1'" in capsys.readouterr().err
    assert cli.run(["stop", "--no-wait"]) == 0
    assert capsys.readouterr().out == "stopping\n"


def test_drain_says_what_it_means(daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.replies("drain", state="draining")
    assert cli.run(["drain"]) == 0
    assert "no calls are taken, jobs wait" in capsys.readouterr().out
    assert cli.run(["drain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"state": "draining"}


@pytest.mark.parametrize("arguments", [["ps"], ["logs", "7"], ["cancel", "7"], ["submit", "JOB"]], ids=lambda a: a[0])
def test_json_is_what_the_daemon_said(
    daemon: ScriptedDaemon, job_file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    daemon.replies(arguments[0], job_id="7", anything=["as", 1, "is"])
    assert cli.run([str(job_file) if word == "JOB" else word for word in [*arguments, "--json"]]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.get("7", printed) == {"job_id": "7", "anything": ["as", 1, "is"]}


class Interrupted:
    """A worker that Ctrl-C reaches while it runs."""

    def __init__(self, patient: bool) -> None:
        self.patient = patient
        self.killed = False
        self.waits = 0

    def wait(self, timeout: float | None = None) -> int:
        self.waits += 1
        if self.waits == 1:
            raise KeyboardInterrupt
        if not self.patient:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return 1

    def send_signal(self, number: int) -> None:
        assert number == signal.SIGINT

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize("patient", [True, False])
def test_interrupting_a_run_ends_its_worker(
    job_file: Path, monkeypatch: pytest.MonkeyPatch, patient: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Interrupted(patient)
    monkeypatch.setattr(foreground.subprocess, "Popen", lambda *_, **__: worker)
    assert cli.run(["run", str(job_file)]) == 130
    assert worker.waits == 2
    assert worker.killed is not patient
    assert capsys.readouterr().err == "stopped; the same command begins again, nothing was written\n"


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "cryobridge/job/1"


def test_settings_are_shown_with_their_origin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("inbox: /data/inbox\n")
    monkeypatch.setenv("CRYOBRIDGE_LOG_LEVEL", "DEBUG")
    assert cli.run(["config", "show", "--config", str(tmp_path / "config.yaml"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["inbox"] == {"value": "/data/inbox", "origin": f"file {tmp_path}/config.yaml"}
    assert shown["log_level"]["value"] == "DEBUG"
    assert "CRYOBRIDGE_LOG_LEVEL" in shown["log_level"]["origin"]
    assert shown["socket_mode"]["origin"] == "default"
    assert cli.run(["config", "show"]) == 0
    assert "deadlines.standard_s" in capsys.readouterr().out


def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["no-such-command"]) == 2
    assert cli.run(["submit"]) == 2
    assert cli.run(["map", "no-such-kind"]) == 2
    assert capsys.readouterr().out == ""


def test_a_job_as_a_command_is_the_same_job(
    job_file: Path, monkeypatch: pytest.MonkeyPatch, daemon: ScriptedDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(job_file.parent)
    daemon.replies("submit", job_id="42")
    job_file.write_text(JOB + "options: {limit_res: 4, keep_highres: true}\nrun: {priority: interactive}\n")
    assert cli.run(["submit", str(job_file)]) == 0
    command = ["map", "fsc3d", "a.mrc", "b.mrc", "-o", "out", "--limit_res", "4", "--keep-highres", "--submit"]
    assert cli.run([*command, "--priority", "interactive"]) == 0
    first, second = (request["spec"] for request in daemon.requests)
    assert first["run"].pop("request_id") != second["run"].pop("request_id")
    assert first == second
    assert capsys.readouterr().out == "42\n42\n"


def test_a_job_as_a_command_runs_here(job_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(job_file.parent)
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(kinds, "run_in_foreground", lambda path: (seen.append(json.loads(path.read_text())), 5)[1])
    assert cli.run(["map", "fsc3d", "a.mrc", "b.mrc", "-o", "out", "--form", "sum_ratio"]) == 5
    assert seen[0]["options"]["form"] == "sum_ratio"
    assert seen[0]["output"] == str(job_file.parent / "out")


def test_a_bad_option_of_a_command_is_the_same_sentence_with_the_flag(
    job_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half1, half2 = str(job_file.parent / "a.mrc"), str(job_file.parent / "b.mrc")
    assert cli.run(["map", "fsc3d", half1, half2, "-o", "out", "--half-angle-deg", "100"]) == 2
    assert "--half-angle-deg: Input should be less than or equal to 90" in capsys.readouterr().err


def test_help_of_a_kind_shows_defaults_and_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["map", "fsc3d", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "in degrees [default: 10.0]" in out
    assert "--cone-sampling-angle" in out


def test_commands_load_neither_torch_nor_pydantic_for_a_status(no_daemon: Path) -> None:
    program = "import sys\nfrom cryobridge.bridge import cli\ncli.run(['status'])\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "click" in loaded
    assert not {"torch", "numpy", "pydantic", "rich", "yaml"} & set(loaded)


def test_the_exit_code_of_the_worker_is_that_of_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job_file: Path
) -> None:
    monkeypatch.setattr(foreground, "WORKER_MODULE", "no.such.module")
    assert cli.run(["run", str(job_file)]) == 1
