"""A run that is killed outright leaves hooks behind: they stop, and touch nothing that a new run may own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cryobridge.wrappers.relion.hook.outputs import unique
from cryobridge.wrappers.relion.hook.processes import Lineage, is_abandoned, owner

pytestmark = pytest.mark.faults

HOOK = f"{sys.executable} -I -m cryobridge.wrappers.relion.hook.main"
# As RELION does: a shell between, which stays when the caller is killed.
RANK = "import os, sys; os.system(sys.argv[1] + '; true')"


def start_rank(job, star, socket):
    environment = os.environ | {"CRYOBRIDGE_SOCKET": str(socket), "CRYOBRIDGE_SPAWN": "0"}
    with (job.project / "run.out").open("ab") as log:
        command = [sys.executable, "-c", RANK, f"{HOOK} {star}"]
        return subprocess.Popen(command, cwd=job.project, env=environment, stdout=log, stderr=log)


def wait_for(condition, limit_s=15.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_hook_whose_relion_was_killed_stops_and_leaves_all_files(job, fake_daemon):
    daemon = fake_daemon({"1": [["standard"], ["beat", 60.0]]})
    star = job.add_call(1)
    rank = start_rank(job, star, daemon.socket)
    daemon.await_received("call")
    assert job.leftovers() != []
    rank.send_signal(signal.SIGKILL)
    rank.wait()
    wait_for(lambda: job.leftovers() == [])
    assert "RELION has ended" in (job.project / "run.out").read_text()
    assert not job.result(1).exists()
    assert all(path.exists() for path in job.inputs(1))


def test_a_new_hook_leaves_the_files_of_one_that_is_still_at_work(job, run_hook, fake_daemon, fake_map):
    first = fake_daemon({"1": [["standard"], ["beat", 60.0]]})
    done = [["standard"], ["send", {"type": "answer", "half": 1, "code": "not_due", "line": ""}]]
    second = fake_daemon({"1": done})
    working = run_hook(job, 1, first.socket)
    first.await_received("call")
    files = job.leftovers()
    assert run_hook(job, 1, second.socket).finish()[0] == 0
    assert job.leftovers() == files
    assert job.result(1).read_bytes() == fake_map(1, "standard")
    working.process.kill()
    working.finish()
    assert run_hook(job, 1, second.socket).finish()[0] == 0
    assert [name for name in job.leftovers() if "run.cryobridge" not in name] == []


def test_a_file_is_abandoned_when_its_process_is_gone_or_far_away_and_old(tmp_path):
    mine = tmp_path / f".run.{unique()}.mrc"
    place, pid, begun = owner().split("-")
    other_start = tmp_path / f".run.cryobridge-{place}-{pid}-{int(begun) + 1}-{'0' * 12}.mrc"
    elsewhere = tmp_path / f".run.cryobridge-{'0' * 8}-{pid}-{begun}-{'0' * 12}.mrc"
    nobody = tmp_path / f".run.cryobridge-{'0' * 12}.mrc"
    for path in (mine, other_start, elsewhere, nobody):
        path.touch()
    assert [is_abandoned(str(path)) for path in (mine, other_start, elsewhere, nobody)] == [False, True, False, True]
    os.utime(elsewhere, (0, 0))
    assert is_abandoned(str(elsewhere))


def test_a_lineage_holds_while_its_processes_do():
    assert not Lineage().broken()
