"""`cryobridge with`: a program that calls as RELION does, with a daemon that answers, is killed, or never starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import psutil
import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.shared]

WITH = [sys.executable, "-m", "cryobridge.bridge.cli", "with"]
CALLS = """
import os, subprocess, sys
hook, socket = os.environ["RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE"], os.environ["CRYOBRIDGE_SOCKET"]
assert os.path.isabs(hook) and len(socket) < 90
print("socket", socket, flush=True)
{before}
name = "Refine3D/job001/run_it010_half%d_class001_external_reconstruct.star"
halves = [subprocess.Popen([*hook.split(), name % half]) for half in (1, 2)]
raise SystemExit(10 * max(half.wait() for half in halves) + 3)
"""
KILL = "import psutil, time\n" + (
    "own = [one for one in psutil.Process(os.getppid()).children() if 'cryobridge.bridge.daemon' in one.cmdline()]\n"
    "assert len(own) == 1\n"
    "own[0].kill()\n"
    "time.sleep(0.2)"
)


@pytest.fixture
def project(captured_iteration: Path, private_runtime: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CRYOBRIDGE_SOCKET")
    monkeypatch.setenv("CRYOBRIDGE_DEVICES", "cpu")
    monkeypatch.setenv("CRYOBRIDGE_CORRECTION", "false")
    return captured_iteration


def run(project: Path, source: str, *options: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [*WITH, *options, "--", sys.executable, "-c", source],
        cwd=project,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )
    return done.returncode, done.stdout + done.stderr


def whole_maps(project: Path) -> bool:
    maps = [project / f"Refine3D/job001/run_it010_half{half}_class001_external_reconstruct.mrc" for half in (1, 2)]
    return all(np.isfinite(mrcfile.read(path)).all() for path in maps)


def left_behind(said: str) -> list[str]:
    """Folders and processes of the daemon, whose socket the program has printed, that should be gone."""
    place = Path(re.search(r"^socket (\S+)$", said, re.MULTILINE)[1]).parent
    return [str(path) for path in (place,) if path.exists()] + [
        str(one.info["cmdline"])
        for one in psutil.process_iter(["cmdline"])
        if str(place) in " ".join(one.info["cmdline"] or [])
    ]


def test_a_program_is_answered_and_everything_goes_when_it_ends(project: Path) -> None:
    code, said = run(project, CALLS.format(before=""))
    assert code == 3, said
    assert said.count("standard map (RELION's own): ") == 2
    assert "starting one" not in said
    assert "the program ended with status 3" in said
    assert "0 because something failed" in said
    assert whole_maps(project)
    assert left_behind(said) == []
    assert not list(project.glob("cryobridge*"))


def test_a_daemon_that_is_killed_costs_no_map_and_is_told(project: Path) -> None:
    code, said = run(project, CALLS.format(before=KILL))
    assert code == 3, said
    assert "the daemon ended before the program (signal SIGKILL)" in said
    assert whole_maps(project)
    # The calls started another in its place; that is gone too.
    assert "starting one" in said
    assert left_behind(said) == []
    log = next(project.glob("**/cryobridge-daemon.log"))
    assert str(log) in said
    assert '"event": "daemon ready"' in log.read_text()


def test_where_no_daemon_can_be_started_the_program_runs_with_relions_own_maps(project: Path) -> None:
    code, said = run(project, CALLS.format(before=""), environment={"CRYOBRIDGE_SOCKET_MODE": "no mode"})
    assert code == 3, said
    assert "no daemon could be started (" in said
    assert "socket_mode" in said
    assert said.count("standard map (RELION's own)") == 2
    assert whole_maps(project)
    assert left_behind(said) == []


def test_a_signal_ends_program_and_daemon_in_order(project: Path) -> None:
    source = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: exit(9))\n"
        "print('socket', os.environ['CRYOBRIDGE_SOCKET'], flush=True)\n"
        "time.sleep(100)"
    )
    process = subprocess.Popen(
        [*WITH, "--keep-log", "--", sys.executable, "-c", source],
        cwd=project,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 9
    assert "no call was answered" in process.stdout.read()
    assert (project / "cryobridge-daemon.log").is_file()
    assert left_behind(said) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["relion_refine", "--o", "x"], "--external_reconstruct"),
        (["relion_refine", "--external_reconstruct", "--blush"], "--blush"),
        (["no_program_of_this_name"], "there is no such program"),
    ],
)
def test_what_could_never_work_is_not_begun(words: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run([*WITH, "--", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []
