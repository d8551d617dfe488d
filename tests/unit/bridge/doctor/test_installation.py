"""The doctor: each thing that can be wrong is found, and told with what to do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.relion_folder import project, write_iteration
from support.scripted_daemon import scripted_daemon

from cryobridge import __version__
from cryobridge.bridge import cli
from cryobridge.bridge.doctor import installation as doctor
from cryobridge.bridge.doctor.finding import Finding, Level
from cryobridge.bridge.doctor.installation import (
    VARIABLE,
    check_daemon,
    check_gpus,
    check_hook,
    check_relion,
    check_settings,
    check_tiny_job,
    check_variable,
    examine,
)
from cryobridge.bridge.doctor.refinement import bytes_per_iteration, check_disk, check_job_folder
from cryobridge.bridge.gpus import Gpu
from cryobridge.wrappers.relion.run_folder import read_refinement


def program(folder: Path, body: str, name: str = "hook") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


GOOD_ANSWER = f'[ "$1" = --version ] && echo cryobridge-relion {__version__}'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is not set"),
        ("/usr/bin/relion_external_reconstruct", "RELION's own program"),
        ("python /opt/spIsoNet/bin/relion_wrapper.py", "spIsoNet's wrapper"),
    ],
)
def test_a_variable_that_leads_elsewhere_fails(value: str, words: str) -> None:
    (finding,) = check_variable({VARIABLE: value})
    assert finding.level is Level.FAIL
    assert words in finding.text
    assert f"export {VARIABLE}=" in finding.advice


def test_a_hook_that_answers_in_an_empty_environment_is_ok(tmp_path: Path) -> None:
    value = program(tmp_path, GOOD_ANSWER)
    assert [finding.level for finding in check_variable({VARIABLE: value})] == [Level.OK, Level.OK]


def test_a_value_with_arguments_is_expanded_by_the_shell(tmp_path: Path) -> None:
    value = f"{program(tmp_path, f'[ $1 = -x ] && [ $2 = --version ] && echo cryobridge-relion {__version__}')} -x"
    assert check_hook(value, {}).level is Level.OK


def test_a_hook_that_needs_the_path_is_a_warning(tmp_path: Path) -> None:
    program(tmp_path, GOOD_ANSWER, "bare-hook")
    finding = check_hook("bare-hook", {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert finding.level is Level.WARN
    assert "give its full path" in finding.advice


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("exit 3", "exit code 3"),
        ("echo broken >&2; exit 1", "exit code 1, broken"),
        ("echo RELION 5", "it is not cryobridge's hook"),
        ("echo cryobridge-relion 0.0.0.1", f"of version 0.0.0.1, this is {__version__}"),
        ("sleep 10", "no answer in 0 s"),
    ],
)
def test_a_hook_that_does_not_work_fails(
    tmp_path: Path, body: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "HOOK_TIMEOUT_S", 0.3)
    finding = check_hook(program(tmp_path, body), dict(os.environ))
    assert finding.level is Level.FAIL
    assert words in finding.text


def test_the_real_hook_starts_in_an_empty_environment() -> None:
    hook = Path(sys.executable).parent / "cryobridge-relion"
    if not hook.exists():
        pytest.skip("cryobridge is not installed in this environment")
    assert check_hook(str(hook), {}).level is Level.OK


def test_the_stock_program_is_welcome_but_not_needed(tmp_path: Path) -> None:
    (missing,) = check_relion({"PATH": str(tmp_path)})
    assert missing.level is Level.WARN
    program(tmp_path, "", "relion_external_reconstruct")
    (found,) = check_relion({"PATH": str(tmp_path)})
    assert found.level is Level.OK


def test_variables_that_mean_nothing_are_told() -> None:
    (finding,) = check_settings({"ISONET_BETA": "high"})
    assert finding.level is Level.WARN
    assert "ISONET_BETA=high" in finding.text
    (fine,) = check_settings({"ISONET_BETA": "0.5"})
    assert fine.level is Level.OK
    assert list(check_settings({"HOME": "/nowhere"})) == []


def test_a_misspelt_variable_is_told_with_the_nearest() -> None:
    (finding,) = check_settings({"CRYOBRIDGE_START_ITERATON": "4"})
    assert finding.level is Level.WARN
    assert finding.advice == "did you mean CRYOBRIDGE_START_ITERATION?"
    (unknown,) = check_settings({"ISONET_SOMETHING_ELSE": "4"})
    assert "config reference" in unknown.advice


def test_no_daemon_is_fine_since_the_hook_starts_one(tmp_path: Path) -> None:
    (finding,) = check_daemon({"CRYOBRIDGE_SOCKET": str(tmp_path / "socket")})
    assert finding.level is Level.OK


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        ({"state": "ready", "version": __version__}, Level.OK, "is ready at"),
        ({"state": "ready", "version": "0.0.0.1"}, Level.FAIL, "is version 0.0.0.1"),
        ({"state": "draining", "version": __version__}, Level.WARN, "is draining"),
    ],
)
def test_a_daemon_is_told_as_it_is(tmp_path: Path, status: dict[str, Any], level: Level, words: str) -> None:
    with scripted_daemon(tmp_path / "socket") as daemon:
        daemon.replies("status", **status)
        (finding,) = check_daemon({"CRYOBRIDGE_SOCKET": str(daemon.path)})
    assert finding.level is level
    assert words in finding.text


def test_a_daemon_of_another_protocol_fails(tmp_path: Path) -> None:
    with scripted_daemon(tmp_path / "socket", protocol=99) as daemon:
        (finding,) = check_daemon({"CRYOBRIDGE_SOCKET": str(daemon.path)})
    assert finding.level is Level.FAIL


def test_gpus_are_told_with_what_is_free() -> None:
    gpus = [Gpu(0, "GPU-1", "H", 80 * 10**9, 60 * 10**9), Gpu(1, "GPU-2", "H", 80 * 10**9, 10**9)]
    free, taken = check_gpus(lambda: gpus)
    assert (free.level, taken.level) == (Level.OK, Level.WARN)
    assert "60.0 of 80.0 GB free" in free.text
    assert "--free_gpu_memory" in taken.advice
    (none,) = check_gpus(list)
    assert none.level is Level.OK


def levels(findings: list[Finding]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in findings}


def test_a_good_refinement_is_ok_throughout(tmp_path: Path) -> None:
    job_dir = project(tmp_path)
    write_iteration(job_dir, 0, options="--external_reconstruct --keep_lowres")
    findings = list(check_job_folder(job_dir))
    assert set(levels(findings).values()) == {Level.OK}
    assert {"--external_reconstruct", "--keep_lowres", "solvent mask", "disk"} <= set(levels(findings))
    assert any("below 20 A" in finding.text for finding in findings)


def test_a_real_refinement_is_ok(captured_iteration: Path) -> None:
    findings = list(check_job_folder(captured_iteration / "Refine3D" / "job001"))
    assert Level.FAIL not in levels(findings).values()


CASES: list[tuple[Mapping[str, Any], str, Level, str]] = [
    ({"options": "", "external": False}, "--external_reconstruct", Level.FAIL, "is not on"),
    (
        {"options": "--continue run_it003_optimiser.star", "external": False, "version": "5.0.1"},
        "--external_reconstruct",
        Level.FAIL,
        "was lost when the job was continued",
    ),
    ({"options": "--external_reconstruct --blush"}, "--blush", Level.FAIL, "never the bridge"),
    (
        {"options": "--external_reconstruct --sequential_halves_recons"},
        "--sequential_halves_recons",
        Level.WARN,
        "standard maps only",
    ),
    ({"gradient": True}, "gradient refinement", Level.WARN, "standard maps only"),
    ({"split": False}, "half-sets", Level.WARN, "standard map"),
    ({"mask": "None"}, "solvent mask", Level.WARN, "is not set"),
    ({"mask": "data/lost.mrc"}, "solvent mask", Level.FAIL, "data/lost.mrc is not there"),
    ({"options": "--external_reconstruct --gpu 0"}, "--free_gpu_memory", Level.WARN, "takes all GPU memory"),
    ({"box": 60_000}, "disk", Level.FAIL, "GB needed"),
]


@pytest.mark.parametrize(("change", "check", "level", "words"), CASES, ids=[f"{case[1]} {case[3]}" for case in CASES])
def test_what_is_wrong_with_a_refinement_is_found(
    tmp_path: Path, change: Mapping[str, Any], check: str, level: Level, words: str
) -> None:
    job_dir = project(tmp_path)
    write_iteration(job_dir, 0)
    write_iteration(job_dir, 4, **change)
    findings = {finding.check: finding for finding in check_job_folder(job_dir)}
    assert findings[check].level is level
    assert words in findings[check].text
    assert findings[check].advice


def test_the_latest_continuation_is_what_counts(tmp_path: Path) -> None:
    job_dir = project(tmp_path)
    old = write_iteration(job_dir, 9, options="", external=False)
    os.utime(old, (1, 1))
    write_iteration(job_dir, 5, root="run_ct4")
    assert levels(list(check_job_folder(job_dir)))["--external_reconstruct"] is Level.OK


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()], ids=["absent", "empty"])
def test_a_folder_that_is_no_refinement_fails(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "job")
    (finding,) = check_job_folder(tmp_path / "job")
    assert finding.level is Level.FAIL


def test_a_settings_file_with_a_mistake_fails(tmp_path: Path) -> None:
    job_dir = project(tmp_path)
    write_iteration(job_dir, 0)
    (job_dir / "cryobridge.yaml").write_text("start_healpxi: 4\n")
    findings = {finding.check: finding for finding in check_job_folder(job_dir)}
    assert findings["cryobridge.yaml"].level is Level.FAIL
    assert "start_healpix" in findings["cryobridge.yaml"].text
    (job_dir / "cryobridge.yaml").write_text("start_healpix: 4\n")
    assert levels(list(check_job_folder(job_dir)))["cryobridge.yaml"] is Level.OK


def test_the_need_of_disk_is_what_relion_writes() -> None:
    """Box 256, padding 2: 0.81 GB for each half, beside the maps."""
    maps = 10 * (4 * 256**3 + 1024)
    assert bytes_per_iteration(256, 2.0) - maps == 2 * 12 * 512 * 512 * 257
    assert (bytes_per_iteration(256, 2.0) - maps) / 2 == pytest.approx(0.81e9, rel=0.01)


def test_little_room_is_a_warning_and_too_little_a_failure(tmp_path: Path) -> None:
    write_iteration(project(tmp_path), 0)
    refinement = read_refinement(tmp_path / "Refine3D" / "job001", "run", 0)
    assert refinement is not None
    needed = bytes_per_iteration(64, 2.0)
    assert [check_disk(refinement, free).level for free in (needed - 1, needed, 3 * needed)] == [
        Level.FAIL,
        Level.WARN,
        Level.OK,
    ]


@pytest.mark.slow
def test_a_tiny_job_runs_end_to_end(no_daemon: Mapping[str, str]) -> None:
    finding = check_tiny_job(no_daemon)
    assert finding.level is Level.OK, finding.text
    assert "ran in the foreground on" in finding.text


@pytest.fixture
def no_daemon(tmp_path: Path) -> Mapping[str, str]:
    return {"CRYOBRIDGE_SOCKET": str(tmp_path / "socket")}


def test_a_tiny_job_that_fails_is_told(no_daemon: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WORKER_MODULE", "cryobridge.no_such_module")
    finding = check_tiny_job(no_daemon)
    assert finding.level is Level.FAIL
    assert "no_such_module" in finding.text


def test_a_tiny_job_that_the_daemon_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WORKER_MODULE", "cryobridge.no_such_module")
    with scripted_daemon(tmp_path / "socket") as daemon:
        environment = {"CRYOBRIDGE_SOCKET": str(daemon.path)}
        daemon.replies("submit", job_id="7")
        daemon.replies("wait", state="failed", reason="oom", text="not enough memory")
        finding = check_tiny_job(environment)
        assert finding.level is Level.FAIL
        assert finding.text == "the daemon's job 7 failed: not enough memory"
        assert daemon.requests[0]["spec"]["kind"] == "map.fsc3d"
        daemon.answers["submit"] = lambda _: {"type": "error", "code": "rejected", "text": "not your folder"}
        assert "no_such_module" in check_tiny_job(environment).text


BUSY_WORKER = {"name": "worker-0", "device": "cpu", "state": "ready", "task": "job-1-1"}
TRAINING = {"job_id": "1", "kind": "map.correct", "state": "running", "progress": {"text": "step 40 of 900"}}
CALL = {"job_id": "2", "session": "/p/run", "iteration": 7, "state": "running", "halves": {"1": "correcting"}}
QUEUED = {"job_id": "7", "kind": "map.fsc3d", "state": "queued", "progress": None}


@pytest.mark.parametrize(
    ("worker", "processes", "behind"),
    [
        (BUSY_WORKER, [TRAINING, QUEUED], "job 1 (map.correct, step 40 of 900)"),
        (BUSY_WORKER, [CALL, QUEUED], "iteration 7 of /p/run"),
        ({"state": "ready"}, [QUEUED], "work that is not yours"),
    ],
)
def test_a_tiny_job_behind_other_work_is_fine_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Any, processes: Any, behind: str
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.05)
    with scripted_daemon(tmp_path / "socket") as daemon:
        daemon.replies("submit", job_id="7")
        daemon.replies("wait", job_id="7", state="queued")
        daemon.replies("status", workers=[worker])
        daemon.replies("ps", processes=processes, sessions=[])
        daemon.answers["cancel"] = lambda _: (
            daemon.replies("wait", job_id="7", state="cancelled")
            or {"type": "reply", "ok": True, "job_id": "7", "state": "cancelled"}
        )
        finding = check_tiny_job({"CRYOBRIDGE_SOCKET": str(daemon.path)}, timeout_s=5.0)
    assert finding.level is Level.OK
    assert f"queued behind {behind}," in finding.text
    assert [request["job_id"] for request in daemon.requests if request["type"] == "cancel"] == ["7"]


@pytest.mark.parametrize(("tasks", "level"), [(["job-7-0", "ab-1-cd"], Level.OK), (["job-7-0"], Level.FAIL)])
def test_a_tiny_job_that_gave_way_to_a_call_is_fine_and_one_that_hangs_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: list[str], level: Level
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.05)
    with scripted_daemon(tmp_path / "socket") as daemon:
        daemon.replies("submit", job_id="7")
        daemon.replies("wait", job_id="7", state="running")
        daemon.replies("status", workers=[{**BUSY_WORKER, "tasks": tasks}])
        daemon.replies("ps", processes=[CALL, {**QUEUED, "state": "running"}], sessions=[])
        daemon.replies("cancel", job_id="7", state="running")
        finding = check_tiny_job({"CRYOBRIDGE_SOCKET": str(daemon.path)}, timeout_s=0.3)
    assert finding.level is level
    assert ("gave way to iteration 7 of /p/run," in finding.text) is (level is Level.OK)


@pytest.mark.parametrize("worker", [{**BUSY_WORKER, "task": None}, {"state": "failed", "task": None}])
def test_a_tiny_job_that_waits_for_nothing_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Any
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.05)
    with scripted_daemon(tmp_path / "socket") as daemon:
        daemon.replies("submit", job_id="7")
        daemon.replies("wait", job_id="7", state="queued")
        daemon.replies("status", workers=[worker])
        daemon.replies("cancel", job_id="7", state="cancelled")
        finding = check_tiny_job({"CRYOBRIDGE_SOCKET": str(daemon.path)}, timeout_s=0.3)
    assert finding.level is Level.FAIL
    assert "still queued after 0.3 s" in finding.text
    assert daemon.requests[-1]["type"] == "cancel"


def test_a_finding_is_given_before_the_next_check_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_relion", lambda _: pytest.fail("asked for too early"))
    assert next(examine(environment={})).check == VARIABLE


def test_the_command_prints_every_finding_and_fails_if_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(tmp_path / "socket"))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(doctor, "nvidia_gpus", list)
    expected = list(examine(tiny_job=False))
    assert cli.run(["doctor", "--no-tiny-job"]) == 1
    out = capsys.readouterr().out
    assert all(finding.text in out and finding.advice in out for finding in expected)
    assert cli.run(["doctor", "--no-tiny-job", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [finding.as_dict() for finding in expected]
    monkeypatch.setenv(VARIABLE, program(tmp_path, GOOD_ANSWER))
    assert cli.run(["doctor", "--no-tiny-job"]) == 0


@pytest.mark.parametrize(("settings", "level"), [("", Level.OK), ("start_healpix: 4\n", Level.WARN)])
def test_a_correction_that_begins_in_local_searches_is_told_with_what_to_set(
    tmp_path: Path, settings: str, level: Level
) -> None:
    folder = project(tmp_path)
    write_iteration(folder, 2)
    (folder / "cryobridge.yaml").write_text(settings)
    (finding,) = [one for one in check_job_folder(folder, {}) if one.check == "start of correction"]
    assert finding.level is level
    assert finding.advice == ("" if level is Level.OK else "set start_healpix: 3 in cryobridge.yaml")
