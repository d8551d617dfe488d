"""The commands as a user runs them, against the stand-in: signals, variables, versions; a scripted daemon beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cryosparc import EMAIL, PASSWORD
from support.scripted_daemon import ScriptedDaemon, scripted_daemon

from cryobridge.wrappers.cryosparc.documents import CardId

from .conftest import Bench

pytestmark = [pytest.mark.shared, pytest.mark.slow]
COMMAND = [sys.executable, "-m", "cryobridge.bridge.cli", "cryosparc"]
JOB = ["--project", "P1", "--workspace", "W1", "--volume", "J1", "--job", "map.fsc3d"]
PATIENCE_S = 60.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    """A daemon whose jobs never end."""

    def works(request: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.05)
        return {"type": "reply", "ok": True, "job_id": request["job_id"], "state": "running"}

    with scripted_daemon(tmp_path / "socket") as running:
        running.replies("submit", job_id="job-1", state="queued")
        running.replies("cancel", job_id="job-1", state="cancelled")
        running.answers["wait"] = works
        yield running


@pytest.fixture
def environment(bench: Bench, tmp_path: Path) -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("CRYOSPARC_", "XDG_"))},
        "CRYOSPARC_BASE_URL": bench.standin.url,
        "CRYOSPARC_EMAIL": EMAIL,
        "CRYOSPARC_PASSWORD": PASSWORD,
        "CRYOBRIDGE_SOCKET": str(tmp_path / "socket"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "OMP_NUM_THREADS": "1",
    }


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_1_a_signal_in_the_middle_of_run_fails_the_card_and_stops_the_daemons_job(
    bench: Bench, daemon: ScriptedDaemon, environment: dict[str, str], number: int
) -> None:
    """Trap 1: with the client's own `run()`, Ctrl-C and SIGTERM mark the job completed."""
    # What runs in the background, or is to outlive its terminal, ignores these, and hands that on.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            [*COMMAND, "run", *JOB],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    try:
        wait_until(lambda: any(one["type"] == "wait" for one in daemon.requests), process)
        job = bench.standin.state.jobs["P1", "J2"]
        assert job.status == "running"
        process.send_signal(number)
        said, complained = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert job.status == "failed"
    assert process.returncode == 130
    assert said == "P1-J2\n"
    assert complained.endswith("stopped; P1-J2 is marked failed\n")
    assert "Traceback" not in complained
    assert daemon.requests[-1]["type"] == "cancel"
    assert "jobs.mark_completed" not in [call["op"] for call in bench.standin.state.calls]
    assert "stopped where it ran" in bench.standin.said(CardId("P1", "J2"))


def card_made(environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "card", *JOB, *more], env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )


def test_7_both_ways_to_name_a_server_in_variables_do_no_harm(environment: dict[str, str]) -> None:
    """Trap 7: with both the client raises TypeError."""
    environment |= {"CRYOSPARC_MASTER_HOSTNAME": "elsewhere", "CRYOSPARC_BASE_PORT": "39000"}
    done = card_made(environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "P1-J2\n", "")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--volume", "J99"], "P1-J99"),
        (["--volume", "J1:nothing"], "P1-J1 has no output 'nothing'"),
        (["--volume", "42"], "'42' is no job of CryoSPARC"),
        (["--job", "map.corect"], "'map.corect' is no job for CryoSPARC"),
        (["--set", "half_angle=10"], "unknown key 'options.half_angle'; did you mean 'options.half_angle_deg'?"),
        (["--set", "half_angle_deg=400"], "'options.half_angle_deg'"),
        (["--workspace", "W99"], "workspace"),
        (["--project", "P99"], "P99"),
        (["--url", "http://me:s3cret@host"], "an address holds no user and no password"),
        (["--url", "http://127.0.0.1:9"], "no CryoSPARC answers there"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_no_card_is_made(
    bench: Bench, environment: dict[str, str], more: list[str], sentence: str
) -> None:
    done = card_made(environment, *more)
    assert done.returncode != 0
    assert done.stdout == ""
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "s3cret" not in done.stderr
    assert len(bench.standin.state.jobs) == 1


def test_run_does_not_begin_with_a_job_that_has_not_finished(bench: Bench, environment: dict[str, str]) -> None:
    bench.standin.job(CardId("P1", "J1")).status = "running"
    done = subprocess.run([*COMMAND, "run", *JOB], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert done.stderr == (
        "cryobridge: P1-J1 is running; run this again when it has finished, or make a card, which waits for it "
        "(cryobridge cryosparc card)\n"
    )
    assert len(bench.standin.state.jobs) == 1


def test_c6_another_version_is_one_sentence_with_both_and_the_line_to_install(
    make_bench: Callable[..., Bench], environment: dict[str, str]
) -> None:
    bench = make_bench(version="v5.1.0")
    done = card_made({**environment, "CRYOSPARC_BASE_URL": bench.standin.url})
    assert done.returncode == 0
    (line,) = done.stderr.strip().splitlines()
    assert "CryoSPARC v5.1.0" in line
    assert "cryosparc-tools 5.0" in line
    assert 'pip install "cryosparc-tools~=5.1.0"' in line
