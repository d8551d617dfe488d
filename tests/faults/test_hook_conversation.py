"""Whatever a daemon does or fails to do, the hook ends with one whole map in place and one line saying why."""

import random
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.faults

STANDARD_THEN = [["standard"]]
PAIR = [["standard"], ["meet", "due"], ["corrected"], ["verified"], ["meet", "agreed"]]
COMMIT = [*PAIR, ["send", {"type": "commit", "ticket": "ticket-1"}]]


def answer(half, code, line):
    return ["send", {"type": "answer", "half": half, "code": code, "line": line}]


def result_line(output):
    """The line that says which map it is; there must be exactly one."""
    lines = [line for line in output.splitlines() if line.startswith(("cryobridge: standard", "cryobridge: corrected"))]
    assert len(lines) == 1, output
    return lines[0]


def test_a_planned_standard_map_is_placed_whole_and_the_volumes_are_deleted(job, run_hook, fake_daemon, fake_map):
    daemon = fake_daemon({"1": [*STANDARD_THEN, answer(1, "not_due", "correction starts at healpix order 3 (now 2)")]})
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert status == 0
    assert job.result(1).read_bytes() == fake_map(1, "standard")
    assert "standard map" in result_line(output)
    assert "starts at healpix order 3 (now 2)" in output
    assert "tries again" not in output
    assert not any(path.exists() for path in job.inputs(1))
    assert job.leftovers() == []
    bye = daemon.await_received("bye")[0]
    assert bye["used"] == {"1": "standard"}


@pytest.mark.parametrize("end", [answer(1, "not_due", "too early"), ["close"]], ids=["answered", "daemon lost"])
def test_the_last_line_carries_the_calls_id(job, run_hook, fake_daemon, end):
    daemon = fake_daemon({"1": [*STANDARD_THEN, end]})
    _, output = run_hook(job, 1, daemon.socket).finish()
    assert "[call c0ffee12]" in result_line(output)
    assert output.count("c0ffee12") == 1


def test_the_call_carries_what_the_daemon_needs(job, run_hook, fake_daemon):
    (job.folder / "cryobridge.yaml").write_text("options: {x: 1}\nstrict: false\n")
    daemon = fake_daemon({"1": [*STANDARD_THEN, answer(1, "not_due", "")]})
    run_hook(job, 1, daemon.socket, ISONET_BETA="0.5", CUDA_VISIBLE_DEVICES="3", UNRELATED="x").finish()
    call = daemon.received("call")[0]
    assert call["key"] == {
        "job_dir": str(job.folder),
        "root": "run",
        "iteration": 10,
        "kind": "class",
        "number": 1,
    }
    assert call["halves"] == [1]
    assert call["settings"] == "options: {x: 1}\nstrict: false\n"
    assert call["environment"]["ISONET_BETA"] == "0.5"
    assert call["environment"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert "UNRELATED" not in call["environment"]
    assert call["hook_settings"] == {"strict": False, "keep_volumes": False, "deadline_s": None, "correction": True}
    expected = {"star", "data_real", "data_imag", "weight", "standard", "corrected"}
    assert {f"half1.{part}" for part in expected} | {"mask", "optimiser", "optimiser_start", "session_out"} == set(
        call["fd_names"]
    )
    assert daemon.received("hello")[0]["client"] == "relion-hook"


def test_both_halves_get_the_corrected_map_after_the_commit(job, run_hook, fake_daemon, fake_map):
    scripts = {"1": [["standard"], ["meet", "due"], ["session"], *PAIR[2:]], "2": PAIR}
    commit = ["send", {"type": "commit", "ticket": "ticket-1"}]
    daemon = fake_daemon({half: [*steps, commit] for half, steps in scripts.items()})
    hooks = [run_hook(job, half, daemon.socket) for half in (1, 2)]
    for half, hook in zip((1, 2), hooks, strict=True):
        status, output = hook.finish()
        assert status == 0
        assert "corrected map: 3.9 A" in result_line(output)
        assert job.result(half).read_bytes() == fake_map(half, "corrected")
    assert job.leftovers() == []
    assert (job.folder / "run.cryobridge" / "session.safetensors").read_bytes() == b"warm"


def test_the_session_of_the_last_iteration_is_handed_over(job, run_hook, fake_daemon):
    (job.folder / "run.cryobridge").mkdir()
    (job.folder / "run.cryobridge" / "session.safetensors").write_bytes(b"warm")
    script = [*STANDARD_THEN, answer(1, "not_due", "")]
    daemon = fake_daemon({"1": script, "2": [*STANDARD_THEN, answer(2, "not_due", "")]})
    for half in (1, 2):
        run_hook(job, half, daemon.socket).finish()
    calls = daemon.received("call")
    assert "session_in" in calls[0]["fd_names"]
    assert not {"session_in", "session_out"} & set(calls[1]["fd_names"])
    assert (job.folder / "run.cryobridge" / "session.safetensors").read_bytes() == b"warm"


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([["standard"], ["close"]], "went away"),
        ([["standard"], ["die"]], "went away"),
        ([["standard"], ["stop"]], "silent for 3 s"),
        ([["standard"], ["garbage"]], "makes no sense"),
        ([["standard"], ["send", {"type": "failed", "code": "oom", "text": "out of memory"}]], "out of memory"),
        ([["standard"], answer(1, "worker_died", "the worker died")], "the worker died"),
        ([["standard"], answer(1, "partner_missing", "half 2 never came")], "half 2 never came"),
        ([["standard"], ["corrected", "nan"], ["verified"]], "not finite"),
        ([["standard"], ["corrected", "cut"], ["verified"]], "bytes where"),
        ([["standard"], ["corrected", "crc"], ["verified"]], "checksum"),
        ([["standard"], ["corrected", "small"], ["verified"]], "8 x 8 x 8"),
        ([["standard"], ["corrected", "wild"], ["verified"]], "deviates"),
        ([["standard"], ["corrected"], ["verified"], ["close"]], "went away"),
        ([["standard"], ["corrected"], ["verified"], ["die"]], "went away"),
        ([["standard"], ["corrected"], ["verified"], answer(1, "oom", "out of memory")], "out of memory"),
    ],
)
def test_after_the_standard_map_every_failure_means_that_map(job, run_hook, fake_daemon, fake_map, steps, why):
    daemon = fake_daemon({"1": steps})
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert status == 0
    assert job.result(1).read_bytes() == fake_map(1, "standard")
    assert why in result_line(output)
    assert "the next iteration tries again" in output
    assert job.leftovers() == []
    assert not any(path.exists() for path in job.inputs(1))


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([["close"]], "went away"),
        ([["die"]], "went away"),
        ([["stop"]], "silent for 3 s"),
        ([["standard", "nan"]], "not finite"),
        ([["standard", "cut"]], "bytes where"),
        ([["standard", "crc"]], "checksum"),
        ([["standard", "small"]], "8 x 8 x 8"),
        ([answer(1, "not_due", "no map at all")], "without a map"),
        ([["send", {"type": "failed", "code": "oom", "text": "out of memory"}]], "out of memory"),
        ([["send", {"type": "failed", "code": "input_invalid", "text": "weight is truncated"}]], "truncated"),
        ([["send", {"type": "standard", "half": "x"}]], "makes no sense"),
        ([["send", {"type": "standard", "half": 2, "size": 1, "crc32": 1}]], "makes no sense"),
    ],
)
@pytest.mark.relion
@pytest.mark.usefixtures("stock_tool")
def test_before_the_standard_map_every_failure_means_relions_own_tool(
    job, run_hook, fake_daemon, stock_map, steps, why
):
    daemon = fake_daemon({"1": steps})
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert status == 0
    assert job.result(1).read_bytes()[1024:] == stock_map(1)
    assert why in result_line(output)
    assert job.leftovers() == []


@pytest.mark.parametrize(
    ("welcome", "why"),
    [
        ({"state": "draining", "reason": "maintenance"}, "draining (maintenance)"),
        ({"state": "busy"}, "busy"),
        ({"protocol": 999}, "another version"),
        ({"type": "error", "text": "not allowed"}, "not allowed"),
    ],
)
@pytest.mark.relion
@pytest.mark.usefixtures("stock_tool")
def test_a_daemon_that_does_not_take_calls_costs_no_time(job, run_hook, fake_daemon, stock_map, welcome, why):
    daemon = fake_daemon(welcome=welcome)
    began = time.monotonic()
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert time.monotonic() - began < 2.5
    assert status == 0
    assert why in result_line(output)
    assert job.result(1).read_bytes()[1024:] == stock_map(1)


@pytest.mark.relion
@pytest.mark.usefixtures("stock_tool")
def test_a_mute_daemon_is_left_after_the_silence_limit(job, run_hook, fake_daemon, stock_map):
    daemon = fake_daemon(mute=True)
    status, output = run_hook(job, 1, daemon.socket, CRYOBRIDGE_SILENCE_S="1").finish()
    assert status == 0
    assert "did not answer within 1 s" in result_line(output)
    assert job.result(1).read_bytes()[1024:] == stock_map(1)


def test_heartbeats_keep_a_long_wait_alive_and_progress_is_printed(job, run_hook, fake_daemon, fake_map):
    progress = ["send", {"type": "progress", "text": "training\nstep 10 of 20", "fraction": 0.5}]
    daemon = fake_daemon({"1": [["standard"], ["beat", 2.0], progress, ["beat", 1.0], answer(1, "not_due", "ok")]})
    status, output = run_hook(job, 1, daemon.socket, CRYOBRIDGE_SILENCE_S="1").finish()
    assert status == 0
    assert "cryobridge: training step 10 of 20 [it010 half1 class001]" in output
    assert job.result(1).read_bytes() == fake_map(1, "standard")


def test_a_long_training_takes_a_line_per_tenth_and_only_in_one_half(job, run_hook, fake_daemon):
    steps = [["send", {"type": "progress", "text": f"step {n}", "fraction": n / 200}] for n in range(200)]
    stage = ["send", {"type": "progress", "text": "correcting to 7.8 A", "fraction": None}]
    script = {str(half): [["standard"], stage, *steps, answer(half, "timeout", "too slow")] for half in (1, 2)}
    daemon = fake_daemon(script)
    outputs = [run_hook(job, half, daemon.socket).finish()[1] for half in (1, 2)]
    assert [output.count("cryobridge: step ") for output in outputs] == [10, 0]
    assert all("correcting to 7.8 A" in output for output in outputs)


def test_the_users_deadline_ends_in_the_standard_map(job, run_hook, fake_daemon, fake_map):
    (job.folder / "cryobridge.yaml").write_text("deadline_s: 1.0\n")
    daemon = fake_daemon({"1": [["standard"], ["beat", 20.0]]})
    began = time.monotonic()
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert time.monotonic() - began < 4
    assert status == 0
    assert "deadline" in result_line(output)
    assert job.result(1).read_bytes() == fake_map(1, "standard")


def test_a_commit_seen_by_one_half_binds_the_other_whose_daemon_died(job, run_hook, fake_daemon, fake_map):
    """Half 1 sees the commit, half 2 loses the daemon just before: both end with the corrected map."""
    commit = ["send", {"type": "commit", "ticket": "ticket-1"}]
    daemon = fake_daemon({"1": [*PAIR, commit], "2": [*PAIR, ["sleep", 1.5], ["close"]]})
    hooks = [run_hook(job, half, daemon.socket) for half in (1, 2)]
    for half, hook in zip((1, 2), hooks, strict=True):
        assert hook.finish()[0] == 0
        assert job.result(half).read_bytes() == fake_map(half, "corrected")


def test_a_fall_back_of_one_half_binds_the_other_that_sees_the_commit_later(job, run_hook, fake_daemon, fake_map):
    """Half 2 loses the daemon after agreeing, half 1 gets a late commit: both end with the standard map."""
    commit = ["send", {"type": "commit", "ticket": "ticket-1"}]
    daemon = fake_daemon({"1": [*PAIR, ["sleep", 1.0], commit], "2": [*PAIR, ["close"]]})
    hooks = [run_hook(job, half, daemon.socket) for half in (1, 2)]
    for half, hook in zip((1, 2), hooks, strict=True):
        assert hook.finish()[0] == 0
        assert job.result(half).read_bytes() == fake_map(half, "standard")


@pytest.mark.slow
@pytest.mark.relion
@pytest.mark.usefixtures("stock_tool")
@pytest.mark.parametrize("block", range(5))
def test_both_halves_take_the_same_choice_whenever_the_daemon_is_killed(
    tmp_path, make_job, run_hook, fake_daemon, fake_map, block
):
    """Ten random instants per block, from the arrival of the calls to some time after the commit."""
    generator = random.Random(block)
    steps = [step for one in COMMIT for step in (one, ["sleep", 0.03])]
    for attempt in range(10):
        job = make_job(tmp_path / f"project{attempt}")
        daemon = fake_daemon({"1": steps, "2": steps})
        hooks = [run_hook(job, half, daemon.socket) for half in (1, 2)]
        daemon.await_received("call", 2)
        time.sleep(generator.uniform(0.0, 0.35))
        daemon.kill()
        assert [hook.finish()[0] for hook in hooks] == [0, 0]
        kinds = set()
        for half in (1, 2):
            voxels = job.result(half).read_bytes()[1024:]
            named = {kind: fake_map(half, kind)[1024:] for kind in ("standard", "corrected")}
            kinds.add(next((kind for kind, expected in named.items() if expected == voxels), "relion"))
        assert kinds == {"corrected"} or kinds <= {"standard", "relion"}
        assert job.leftovers() == []


def test_strict_ends_with_1_but_still_with_a_whole_map(job, run_hook, fake_daemon, fake_map):
    (job.folder / "cryobridge.yaml").write_text("strict: true\n")
    daemon = fake_daemon({"1": [["standard"], ["close"]], "2": [["standard"], answer(2, "not_due", "not yet")]})
    assert run_hook(job, 1, daemon.socket).finish()[0] == 1
    assert job.result(1).read_bytes() == fake_map(1, "standard")
    assert run_hook(job, 2, daemon.socket).finish()[0] == 0


def test_sigterm_ends_quickly_without_leftovers(job, run_hook, fake_daemon):
    daemon = fake_daemon({"1": [["standard"], ["beat", 30.0]]})
    hook = run_hook(job, 1, daemon.socket)
    daemon.await_received("call")
    time.sleep(0.3)
    began = time.monotonic()
    hook.process.send_signal(signal.SIGTERM)
    status, _ = hook.finish(timeout_s=5)
    assert status == 128 + signal.SIGTERM
    assert time.monotonic() - began < 1.5
    assert job.leftovers() == []
    assert not job.result(1).exists()
    assert all(path.exists() for path in job.inputs(1))


def test_what_a_killed_hook_left_is_removed_by_the_next_one(job, run_hook, fake_daemon):
    daemon = fake_daemon({"1": [["standard"], answer(1, "not_due", "")]})
    leftover = job.folder / ".run_it009_half1_class001_external_reconstruct.cryobridge-00ff.mrc"
    others = job.folder / ".run_it009_half2_class001_external_reconstruct.cryobridge-00ff.mrc"
    leftover.touch()
    others.touch()
    bridge = job.folder / "run.cryobridge"
    bridge.mkdir()
    (bridge / "it009_class001_half1.here").touch()
    run_hook(job, 1, daemon.socket).finish()
    assert not leftover.exists()
    assert others.exists()
    assert not list(bridge.glob("it009*"))


def test_a_closed_log_does_not_cost_the_map(job, fake_daemon, fake_map):
    daemon = fake_daemon({"1": [["standard"], answer(1, "not_due", "")]})
    star = job.add_call(1)
    command = f"{subprocess.list2cmdline(_hook_command())} {star} >&- 2>&-"
    status = subprocess.run(
        ["sh", "-c", command],
        cwd=job.project,
        env={"CRYOBRIDGE_SOCKET": str(daemon.socket), "PATH": "/usr/bin:/bin"},
        check=False,
    ).returncode
    assert status == 0
    assert job.result(1).read_bytes() == fake_map(1, "standard")


def _hook_command():
    import sys

    return [sys.executable, "-I", "-m", "cryobridge.wrappers.relion.hook.main"]


def test_an_older_result_under_the_same_name_never_survives(job, run_hook, tmp_path):
    """--continue calls under old names: a call that makes no map must not leave the old one to be read."""
    job.result(1).write_bytes(b"an older map")
    table = job.folder / f"{job.stem(1)}_out.star"
    table.write_text("data_\n")
    star = job.add_call(1)
    for path in job.inputs(1):
        path.unlink()
    status, output = run_hook(job, 1, star=star, PATH=str(tmp_path)).finish()
    assert status != 0
    assert "cryobridge: no map" in output
    assert not job.result(1).exists()
    assert not table.exists()


def test_volumes_are_kept_when_asked(job, run_hook, fake_daemon):
    daemon = fake_daemon({"1": [["standard"], answer(1, "not_due", "")]})
    run_hook(job, 1, daemon.socket, CRYOBRIDGE_KEEP_VOLUMES="1").finish()
    assert all(path.exists() for path in job.inputs(1))


@pytest.mark.parametrize("half", [0, 1])
def test_without_a_correction_no_corrected_file_is_offered(job, run_hook, fake_daemon, half):
    """Class3D and the joined call (no half), and `correction: off`."""
    (job.folder / "cryobridge.yaml").write_text("correction: off\n")
    daemon = fake_daemon({str(half): [["standard"], answer(half, "off", "correction is off")]})
    status, _ = run_hook(job, half, daemon.socket).finish()
    assert status == 0
    names = daemon.received("call")[0]["fd_names"]
    assert f"half{half}.standard" in names
    assert f"half{half}.corrected" not in names
    assert not (job.folder / "run.cryobridge").exists()


def test_sequential_halves_never_wait_for_the_partner(job, run_hook, fake_daemon, fake_map):
    job.write_optimisers("--sequential_halves_recons")
    daemon = fake_daemon({"1": [["standard"], ["send", {"type": "waiting", "half": 1}], ["beat", 20.0]]})
    began = time.monotonic()
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert time.monotonic() - began < 5
    assert status == 0
    assert "--sequential_halves_recons" in result_line(output)
    assert job.result(1).read_bytes() == fake_map(1, "standard")


@pytest.mark.parametrize(("root", "iteration"), [("my_it003_half2.v1", 7), ("run_ct5", 112)])
def test_odd_roots_and_large_iterations(tmp_path, make_job, run_hook, fake_daemon, root, iteration):
    job = make_job(tmp_path / "project", root=root, iteration=iteration)
    daemon = fake_daemon({"2": [["standard"], answer(2, "not_due", "")]})
    assert run_hook(job, 2, daemon.socket).finish()[0] == 0
    key = daemon.received("call")[0]["key"]
    assert (key["root"], key["iteration"]) == (root, iteration)
    assert job.result(2).exists()
