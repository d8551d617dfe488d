"""No refinement is lost: real hooks, a real daemon and a real worker, and everything that can befall them.

Whatever happens, both hooks exit 0 with a whole map in place; after any failure it is the map that RELION's own
program makes of the same call, for both halves, and one line in RELION's log says why.
"""

import os
import shutil
import signal
import subprocess
import time

import psutil
import pytest
from support.answers import assert_corrected, assert_standard, is_standard
from support.refinement import FAST, SETTINGS, Refinement

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def workers_of(runtime):
    daemon = psutil.Process(runtime.daemon_pid())
    return [child for child in daemon.children(recursive=True) if "cryobridge.bridge.worker" in child.cmdline()]


def wait_for(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def test_with_nothing_wrong_both_halves_are_corrected(refinement, stock_maps):
    calls = refinement.iterate(3)
    assert_corrected(calls, stock_maps)
    for half in (1, 2):
        assert not list(refinement.job_folder.glob(f"*half{half}*_data_real.mrc")), "padded input volumes are left"
    assert not list(refinement.job_folder.glob("*_out.star"))
    assert not list(refinement.job_folder.glob("*part*"))


def test_no_daemon_and_none_to_be_had(refinement, stock_maps):
    assert_standard(refinement.iterate(3, CRYOBRIDGE_SPAWN="0"), stock_maps, "no daemon")


def test_no_daemon_and_no_relion_on_the_path_either(refinement, stock_maps, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    calls = refinement.iterate(3, CRYOBRIDGE_SPAWN="0", PATH=str(empty))
    assert_standard(calls, stock_maps, "no daemon")


def test_after_a_daemon_was_killed_between_iterations_the_next_is_warm_from_disk(
    refinement, stock_maps, private_runtime
):
    first = refinement.iterate(3)
    assert_corrected(first, stock_maps)
    assert "pre-trained network" in first[0].text + first[1].text
    os.kill(private_runtime.daemon_pid(), signal.SIGKILL)
    second = refinement.iterate(4)
    assert_corrected(second, stock_maps)
    assert "warm network" in second[0].text + second[1].text
    assert (refinement.job_folder / "run.cryobridge/session.safetensors").stat().st_size > 1000


def test_a_stopped_worker(refinement, stock_maps, private_runtime):
    calls = [refinement.begin(3, half, CRYOBRIDGE_STEPS="50000") for half in (1, 2)]
    wait_for(lambda: "correcting to" in calls[0].text)
    worker = workers_of(private_runtime)[0]
    worker.suspend()
    started = time.monotonic()
    for call in calls:
        call.wait()
    assert time.monotonic() - started < 30
    assert_standard(calls, stock_maps, "worker")
    assert_corrected(refinement.iterate(4), stock_maps)


def test_a_killed_worker(refinement, stock_maps, private_runtime):
    calls = [refinement.begin(3, half, CRYOBRIDGE_STEPS="50000") for half in (1, 2)]
    wait_for(lambda: "correcting to" in calls[0].text)
    workers_of(private_runtime)[0].kill()
    for call in calls:
        call.wait()
    assert_standard(calls, stock_maps, "worker")
    assert_corrected(refinement.iterate(4), stock_maps)


def test_a_stopped_daemon(refinement, stock_maps, private_runtime):
    calls = [refinement.begin(3, half, CRYOBRIDGE_STEPS="50000") for half in (1, 2)]
    wait_for(lambda: "correcting to" in calls[0].text)
    os.kill(private_runtime.daemon_pid(), signal.SIGSTOP)
    for call in calls:
        call.wait()
    assert_standard(calls, stock_maps, "silent", "nothing")


def test_a_network_that_gives_nan(refinement, stock_maps):
    settings = refinement.job_folder / "cryobridge.yaml"
    settings.write_text("network: {alpha: 1.0e+39, cube_size: 16, crop_size: 32, batch: 2}\n")
    assert_standard(refinement.iterate(3), stock_maps, "finite", "not usable", "training failed")
    settings.write_text(SETTINGS)
    assert_corrected(refinement.iterate(4), stock_maps)


def test_out_of_memory(refinement, stock_maps):
    settings = refinement.job_folder / "cryobridge.yaml"
    settings.write_text("network: {cube_size: 192, batch: 8, preset: medium, steps: 2}\n")
    calls = []
    for half in (1, 2):
        star = refinement.write_call(3, half)
        # The limit is handed down from hook to daemon to worker.
        calls.append(refinement.call(star, half, limit_kib=6_000_000))
    for call in calls:
        call.wait()
    assert_standard(calls, stock_maps, "memory")


def test_the_other_half_never_comes(refinement, stock_maps):
    call = refinement.begin(3, 1, CRYOBRIDGE_PARTNER_WAIT_S="3")
    call.wait()
    assert_standard([call], stock_maps, "half 2 did not call")


def test_a_deadline(refinement, stock_maps):
    calls = refinement.iterate(3, CRYOBRIDGE_STEPS="50000", CRYOBRIDGE_DEADLINE_S="5")
    assert_standard(calls, stock_maps, "deadline", "longer than", "other half has gone")
    assert any("deadline" in call.text for call in calls)


def test_truncated_data_get_what_relions_own_program_makes_of_them(refinement, relion):
    """The stock program takes a truncated file without a word; so the log is the only place where it is said."""
    calls = []
    for half in (1, 2):
        star = refinement.write_call(3, half)
        path = refinement.project / str(star).replace(".star", "_data_real.mrc")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        expected = subprocess.run(
            [str(relion["relion_external_reconstruct"]), str(star)], cwd=refinement.project, capture_output=True
        )
        calls.append((refinement.call(star, half), expected.returncode))
    for call, expected in calls:
        assert call.wait() == expected
        assert "_data_real.mrc" in call.text


def test_a_full_disk(simulated, stock_maps, private_runtime, tmp_path):
    """The padded inputs are useless once a map is made of them; removing them makes room for it."""
    project = tmp_path / "small"
    project.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(project)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small file system here")
    refinement = None
    try:
        refinement = Refinement.start(project, simulated, {**FAST, "CRYOBRIDGE_STYLE": "stock"})
        stars = [refinement.write_call(3, half) for half in (1, 2)]
        free = shutil.disk_usage(project).free
        with (project / "ballast").open("wb") as ballast:
            ballast.write(b"\0" * (free - 8192))
        calls = [refinement.call(star, half, log_folder=tmp_path) for star, half in zip(stars, (1, 2), strict=True)]
        for call in calls:
            call.wait()
        assert_standard(calls, stock_maps, "disk", "space")
    finally:
        if refinement is not None:
            refinement.end()
        subprocess.run(["umount", "-l", str(project)], check=True)


def test_two_daemons_racing_to_start(refinement, stock_maps, private_runtime):
    """Both hooks find no daemon at the same moment: one is started, and both halves meet in it."""
    assert private_runtime.daemon_pid() is None
    assert_corrected(refinement.iterate(3), stock_maps)
    daemons = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "cryobridge.bridge.daemon" in (process.info["cmdline"] or [])
        and str(private_runtime.socket) in process.info["cmdline"]
    ]
    assert daemons == [private_runtime.daemon_pid()]


def test_a_stale_result_of_a_continued_run_is_never_taken_for_the_answer(refinement, stock_maps):
    star = refinement.write_call(3, 1)
    result = refinement.project / str(star).replace(".star", ".mrc")
    result.write_bytes(b"a map of another run")
    (refinement.project / str(star).replace(".star", "_out.star")).write_text("data_\n")
    call = refinement.call(star, 1, CRYOBRIDGE_SPAWN="0")
    call.wait()
    assert_standard([call], stock_maps, "no daemon")
    assert not list(refinement.job_folder.glob("*_out.star"))


def test_strict_says_it_with_the_exit_status_and_still_leaves_the_map(refinement, stock_maps):
    (refinement.job_folder / "cryobridge.yaml").write_text("strict: true\n")
    call = refinement.begin(3, 1, CRYOBRIDGE_SPAWN="0")
    assert call.wait() == 1
    assert is_standard(call, stock_maps)
