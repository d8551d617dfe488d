"""The two halves of an iteration at two daemons that share only the job folder."""

import json
import signal
import time

import pytest

pytestmark = pytest.mark.faults

WAIT = [["standard"], ["send", {"type": "waiting", "half": 0}], ["beat", 30.0]]
JOINT = [
    ["standard", "standard", 1],
    ["standard", "standard", 2],
    ["corrected", "corrected", 1],
    ["corrected", "corrected", 2],
    ["verified", 1],
    ["verified", 2],
]
COMMIT = ["send", {"type": "commit", "ticket": "ticket-1"}]


def two_hosts(fake_daemon, joint):
    """A daemon per host; either may become the one that corrects both halves."""
    return [fake_daemon({half: WAIT, "12": joint}, welcome={"daemon_id": f"daemon-{half}"}) for half in ("1", "2")]


def run_both(job, run_hook, daemons, **environment):
    return [run_hook(job, half, daemon.socket, **environment) for half, daemon in zip((1, 2), daemons, strict=True)]


def kinds_of(job, fake_map):
    kinds = []
    for half in (1, 2):
        found = job.result(half).read_bytes()
        kinds.append(next(kind for kind in ("standard", "corrected") if fake_map(half, kind) == found))
    return kinds


def test_one_daemon_corrects_both_halves_and_both_hooks_place_their_own(job, run_hook, fake_daemon, fake_map):
    daemons = two_hosts(fake_daemon, [*JOINT[:4], ["session"], *JOINT[4:], COMMIT])
    outputs = [hook.finish() for hook in run_both(job, run_hook, daemons)]
    assert [status for status, _ in outputs] == [0, 0]
    assert kinds_of(job, fake_map) == ["corrected", "corrected"]
    assert all("corrected map: 3.9 A" in text for _, text in outputs)
    joint = [call for daemon in daemons for call in daemon.received("call") if call["halves"] == [1, 2]]
    assert len(joint) == 1
    assert {"half1.weight", "half2.weight", "half1.corrected", "half2.corrected"} <= set(joint[0]["fd_names"])
    assert not any(path.exists() for half in (1, 2) for path in job.inputs(half))
    assert job.leftovers() == []


def test_each_hooks_line_names_the_call_that_its_own_daemons_log_knows(job, run_hook, fake_daemon):
    joint = [["standard", "standard", {"half": half, "call": "joint"}] for half in (1, 2)]
    scripts = {half: [["standard", "standard", {"call": f"own{half}"}], *WAIT[1:]] for half in ("1", "2")}
    daemons = [
        fake_daemon({half: script, "12": [*joint, *JOINT[2:], COMMIT]}, welcome={"daemon_id": f"daemon-{half}"})
        for half, script in scripts.items()
    ]
    texts = [hook.finish()[1] for hook in run_both(job, run_hook, daemons)]
    named = [next(word for word in ("joint", "own1", "own2") if f"[call {word}]" in text) for text in texts]
    assert named in (["joint", "own2"], ["own1", "joint"])


def test_the_next_iteration_clears_what_the_meeting_left(job, run_hook, fake_daemon, make_job):
    daemons = two_hosts(fake_daemon, [*JOINT, COMMIT])
    for hook in run_both(job, run_hook, daemons):
        assert hook.finish()[0] == 0
    bridge = job.folder / "run.cryobridge"
    assert any(path.name.startswith("it010") for path in bridge.iterdir())
    later = make_job(job.project, iteration=11)
    daemon = fake_daemon({"1": [["standard"], ["send", {"type": "answer", "half": 1, "code": "not_due"}]]})
    run_hook(later, 1, daemon.socket).finish()
    assert not any(path.name.startswith("it010") for path in bridge.iterdir())


@pytest.mark.parametrize(
    "joint",
    [
        [["close"]],
        [*JOINT[:3], ["close"]],
        [*JOINT[:4], ["close"]],
        [*JOINT, ["close"]],
        [*JOINT[:2], ["send", {"type": "failed", "code": "oom", "text": "out of memory"}]],
        [*JOINT[:2], ["corrected", "nan", 1], ["corrected", "corrected", 2], ["beat", 20.0]],
        [*JOINT[:2], ["corrected", "corrected", 1], ["corrected", "nan", 2], ["beat", 20.0]],
        [["die"]],
    ],
)
def test_when_the_joint_work_fails_both_halves_keep_the_standard_map(job, run_hook, fake_daemon, fake_map, joint):
    daemons = two_hosts(fake_daemon, joint)
    outputs = [hook.finish() for hook in run_both(job, run_hook, daemons)]
    assert [status for status, _ in outputs] == [0, 0]
    assert kinds_of(job, fake_map) == ["standard", "standard"]
    assert all("standard map" in text and "tries again" in text for _, text in outputs)
    assert job.leftovers() == []


def test_when_the_joint_work_cannot_start_the_guest_is_told(job, run_hook, fake_daemon, fake_map):
    """The owner cannot open the other half's call."""
    script = {half: [["standard"], ["beat", 1.5], *WAIT[1:]] for half in ("1", "2")}
    daemons = [fake_daemon(script, welcome={"daemon_id": f"daemon-{half}"}) for half in (1, 2)]
    hooks = run_both(job, run_hook, daemons, CRYOBRIDGE_SILENCE_S="30")
    for half, daemon in zip((1, 2), daemons, strict=True):
        daemon.await_received("call")
        (job.folder / f"{job.stem(half)}.star").unlink()
    outputs = [hook.finish(timeout_s=15) for hook in hooks]
    assert [status for status, _ in outputs] == [0, 0]
    assert all("could not be joined" in text for _, text in outputs)
    assert kinds_of(job, fake_map) == ["standard", "standard"]


@pytest.mark.parametrize("moment", ["standard", "corrected"])
def test_a_killed_owner_leaves_the_guest_with_the_standard_map(job, run_hook, fake_daemon, fake_map, moment):
    steps = JOINT[:2] if moment == "standard" else JOINT[:4]
    daemons = two_hosts(fake_daemon, [*steps, ["beat", 20.0]])
    hooks = run_both(job, run_hook, daemons, CRYOBRIDGE_SILENCE_S="2")
    owner = await_owner(job)
    time.sleep(0.7)
    hooks[owner - 1].process.send_signal(signal.SIGKILL)
    guest = 3 - owner
    status, output = hooks[guest - 1].finish()
    assert status == 0
    assert "no life for 2 s" in output
    assert job.result(guest).read_bytes() == fake_map(guest, "standard")


def test_a_killed_guest_leaves_the_owner_with_the_standard_map(job, run_hook, fake_daemon, fake_map):
    daemons = two_hosts(fake_daemon, [*JOINT[:2], ["beat", 20.0]])
    hooks = run_both(job, run_hook, daemons, CRYOBRIDGE_SILENCE_S="2")
    owner = await_owner(job)
    hooks[2 - owner].process.send_signal(signal.SIGKILL)
    status, output = hooks[owner - 1].finish()
    assert status == 0
    assert "the other half went away" in output
    assert job.result(owner).read_bytes() == fake_map(owner, "standard")


def test_the_file_of_a_killed_run_is_not_taken_for_a_partner(job, run_hook, fake_daemon, fake_map):
    bridge = job.folder / "run.cryobridge"
    bridge.mkdir()
    note = {"identity": "0123456789abcdef", "daemon_id": "long-gone", "beats": 7}
    (bridge / "it010_class001_half2.here").write_text(json.dumps(note))
    gone = {"type": "answer", "half": 1, "code": "partner_missing", "line": "half 2 never came"}
    daemon = fake_daemon({"1": [*WAIT[:2], ["beat", 2.5], ["send", gone]]}, welcome={"daemon_id": "daemon-1"})
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert status == 0
    assert "half 2 never came" in output
    assert not list(bridge.glob("*.claim"))
    assert job.result(1).read_bytes() == fake_map(1, "standard")


def await_owner(job):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        claims = list((job.folder / "run.cryobridge").glob("*.claim"))
        if claims:
            return int(str(claims[0].readlink())[-1])
        time.sleep(0.05)
    raise AssertionError("nobody claimed the iteration")
