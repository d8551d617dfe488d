"""No daemon, no room, no good input: what the hook does with RELION's own tool, with ours, or with neither."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest

pytestmark = [pytest.mark.faults, pytest.mark.relion, pytest.mark.usefixtures("stock_tool")]

DONE = [["standard"], ["send", {"type": "answer", "half": 1, "code": "not_due", "line": "not yet"}]]


def voxels(path):
    return np.frombuffer(path.read_bytes()[1024:], "<f4")


def test_without_a_daemon_relions_tool_makes_the_map(job, run_hook, stock_map):
    began = time.monotonic()
    status, output = run_hook(job, 1).finish()
    assert time.monotonic() - began < 2
    assert status == 0
    assert "standard map (RELION's own): no daemon listens on" in output
    assert job.result(1).read_bytes()[1024:] == stock_map(1)
    assert not any(path.exists() for path in job.inputs(1))
    assert job.leftovers() == []


def test_a_real_call_without_a_daemon_equals_what_relion_made(captured_iteration, make_job, run_hook):
    project = captured_iteration
    for half in (1, 2):
        star = f"Refine3D/job001/run_it010_half{half}_class001_external_reconstruct.star"
        job = make_job.__new__(make_job)
        job.project = project
        status, _ = run_hook(job, half, star=star).finish()
        assert status == 0
        made = project / star.replace(".star", ".mrc")
        expected = project / star.replace(".star", "_stock.mrc")
        assert np.array_equal(voxels(made), voxels(expected))


@pytest.mark.slow
def test_without_relions_tool_ours_makes_the_same_map(job, run_hook, stock_map, tmp_path):
    status, output = run_hook(job, 1, PATH=str(tmp_path)).finish(timeout_s=120)
    assert status == 0
    assert "no daemon listens" in output
    expected = np.frombuffer(stock_map(1), "<f4")
    error = voxels(job.result(1)) - expected
    assert np.sqrt((error**2).mean()) <= 1e-5 * np.sqrt((expected**2).mean())
    assert job.leftovers() == []


def test_nothing_is_started_in_a_folder_open_to_others(job, run_hook, stock_map, tmp_path):
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    status, output = run_hook(job, 1, open_folder / "socket", CRYOBRIDGE_SPAWN="1").finish()
    assert status == 0
    assert "no daemon can be started" in output
    assert list(open_folder.iterdir()) == []
    assert job.result(1).read_bytes()[1024:] == stock_map(1)


def test_a_daemon_that_ends_at_its_start_is_not_waited_for(job, run_hook, stock_map, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    (folder / "socket").mkdir()  # nothing can listen there
    began = time.monotonic()
    status, output = run_hook(job, 1, folder / "socket", CRYOBRIDGE_SPAWN="1").finish()
    assert time.monotonic() - began < 15
    assert status == 0
    assert "the daemon ended at its start" in output
    assert job.result(1).read_bytes()[1024:] == stock_map(1)


def test_an_address_that_cannot_be_used_is_said_at_once(job, run_hook, stock_map, tmp_path):
    status, output = run_hook(job, 1, tmp_path / ("x" * 120), CRYOBRIDGE_SPAWN="1").finish()
    assert status == 0
    assert "path too long" in output
    assert job.result(1).read_bytes()[1024:] == stock_map(1)


def test_a_stopped_daemon_whose_queue_is_full_is_not_waited_for(job, run_hook, stock_map, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, contextlib.ExitStack() as stack:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(tmp_path / "socket"))
        status, output = run_hook(job, 1, tmp_path / "socket", CRYOBRIDGE_SPAWN="1").finish()
    assert status == 0
    assert "does not take connections" in output
    assert job.result(1).read_bytes()[1024:] == stock_map(1)


@pytest.mark.acceptance
def test_two_hooks_that_start_a_daemon_at_once_share_one(job, run_hook, private_runtime):
    (job.folder / "cryobridge.yaml").write_text("correction: false\n")
    environment = private_runtime.environment | {"CRYOBRIDGE_SPAWN": "1", "CRYOBRIDGE_SILENCE_S": "30"}
    hooks = [run_hook(job, half, private_runtime.socket, **environment) for half in (1, 2)]
    for hook in hooks:
        # As mpirun does with its ranks; the daemon must not inherit it.
        os.sched_setaffinity(hook.process.pid, {min(os.sched_getaffinity(0))})
    for half, hook in zip((1, 2), hooks, strict=True):
        assert hook.finish(timeout_s=120)[0] == 0
        assert np.isfinite(voxels(job.result(half))).all()
    daemons = subprocess.run(
        ["pgrep", "-f", f"cryobridge.bridge.daemon --autospawned --socket {private_runtime.socket}"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert daemons == [str(private_runtime.daemon_pid())]
    assert os.sched_getaffinity(int(daemons[0])) == os.sched_getaffinity(0)


def test_a_nan_map_is_never_put_in_place(job, run_hook):
    """RELION would accept it, write a checkpoint and die one iteration later; the checkpoint before is still good."""
    star = job.add_call(1)
    weight = job.inputs(1)[2]
    data = bytearray(weight.read_bytes())
    data[1024:1028] = np.float32("nan").tobytes()
    weight.write_bytes(data)
    status, output = run_hook(job, 1, star=star).finish()
    assert status != 0
    assert "no map" in output
    assert "not finite" in output
    assert not job.result(1).exists()
    assert job.leftovers() == []


def test_truncated_input_gets_relions_own_behaviour(job, run_hook, fake_daemon, make_job, tmp_path):
    refused = {"type": "failed", "code": "input_invalid", "text": "..._weight.mrc is cut off: 35328 of 70656 bytes"}
    daemon = fake_daemon({"1": [["send", refused]]})
    control = make_job(tmp_path / "control")
    for one in (job, control):
        one.add_call(1)
        weight = one.inputs(1)[2]
        weight.write_bytes(weight.read_bytes()[: weight.stat().st_size // 2])
    stars = [f"Refine3D/job001/{job.stem(1)}.star"] * 2
    subprocess.run(["relion_external_reconstruct", stars[1]], cwd=control.project, check=True, capture_output=True)
    status, output = run_hook(job, 1, daemon.socket, star=stars[0]).finish()
    assert status == 0
    assert "is cut off" in output
    assert np.array_equal(voxels(job.result(1)), voxels(control.result(1)))


def test_missing_input_gets_relions_own_error(job, run_hook, fake_daemon):
    daemon = fake_daemon({"1": DONE})
    star = job.add_call(1)
    job.inputs(1)[2].unlink()
    status, output = run_hook(job, 1, daemon.socket, star=star).finish()
    assert status == 1
    assert "_weight.mrc cannot be opened" in output
    assert not job.result(1).exists()
    assert job.leftovers() == []


def test_a_star_that_cannot_be_read_is_left_to_relions_tool(job, run_hook):
    status, output = run_hook(job, 1, star="Refine3D/job001/nothing.star").finish()
    assert status != 0
    assert "RELION's own tool is run on it" in output


def test_two_dimensional_references_never_reach_the_daemon(job, run_hook, fake_daemon):
    daemon = fake_daemon({"1": DONE})
    star = job.add_call(1)
    path = job.project / star
    path.write_text(path.read_text().replace("_rlnReferenceDimensionality 3", "_rlnReferenceDimensionality 2"))
    _, output = run_hook(job, 1, daemon.socket, star=star).finish()
    assert "two-dimensional references are not corrected" in output
    assert daemon.received("hello") == []


@pytest.fixture
def full_disk(tmp_path):
    """A small file system, and a way to fill it."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    ).returncode
    if mounted != 0:
        pytest.skip("mounting a small tmpfs is not allowed here")

    def fill():
        block = 65536
        with (folder / "filler").open("wb", buffering=0) as file:
            while block:
                try:
                    file.write(b"\1" * block)
                except OSError:
                    block //= 2
        assert shutil.disk_usage(folder).free == 0

    yield folder, fill
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("with_daemon", [True, False])
def test_on_a_full_disk_the_used_volumes_make_room_for_the_map(
    full_disk, make_job, run_hook, fake_daemon, fake_map, stock_map, with_daemon
):
    folder, fill = full_disk
    job = make_job(folder / "project")
    star = job.add_call(1)
    fill()
    daemon = fake_daemon({"1": DONE})
    status, output = run_hook(job, 1, daemon.socket if with_daemon else "/nonexistent/s", star=star).finish()
    assert status == 0, output
    expected = fake_map(1, "standard")[1024:] if with_daemon else stock_map(1)
    assert job.result(1).read_bytes()[1024:] == expected
    assert job.leftovers() == []
    if with_daemon:
        assert "half1.corrected" not in daemon.received("call")[0]["fd_names"]


@pytest.mark.parametrize("with_daemon", [True, False])
def test_on_a_full_disk_with_volumes_to_keep_there_is_no_half_written_map(
    full_disk, make_job, run_hook, fake_daemon, with_daemon
):
    folder, fill = full_disk
    job = make_job(folder / "project")
    star = job.add_call(1)
    (job.folder / "cryobridge.yaml").write_text("keep_volumes: true\n")
    fill()
    daemon = fake_daemon({"1": DONE})
    status, output = run_hook(job, 1, daemon.socket if with_daemon else "/nonexistent/s", star=star).finish()
    assert status == 1
    assert len([line for line in output.splitlines() if line.startswith("cryobridge: no map")]) == 1
    assert not job.result(1).exists()
    assert all(path.exists() for path in job.inputs(1))
    assert job.leftovers() == []


def test_a_folder_that_cannot_be_written_costs_one_sentence(full_disk, make_job, run_hook):
    folder, _ = full_disk
    job = make_job(folder / "project")
    star = job.add_call(1)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    status, output = run_hook(job, 1, star=star).finish()
    assert status == 1
    assert len([line for line in output.splitlines() if line.startswith("cryobridge: no map")]) == 1
    assert "Read-only file system" in output
