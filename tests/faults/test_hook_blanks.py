"""RELION quotes nothing: a blank in the output path must cost neither the map nor the run."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.relion, pytest.mark.usefixtures("stock_tool")]

HOOK = f"{sys.executable} -I -m cryobridge.wrappers.relion.hook.main"


@pytest.mark.parametrize("with_daemon", [True, False])
@pytest.mark.parametrize("name", ["my job", "my   job of\tMay", "it's bob's"])
def test_a_call_in_a_folder_with_blanks_gets_its_map(job, fake_daemon, fake_map, stock_map, name, with_daemon):
    star = job.project / job.add_call(1)
    values = [line.split(None, 1) for line in star.read_text().splitlines()]
    renamed = [
        f'{pair[0]} "{pair[1]}"'.replace("job001", name) if len(pair) == 2 and "job001" in pair[1] else " ".join(pair)
        for pair in values
    ]
    star.write_text("\n".join(renamed) + "\n")
    job.folder = job.folder.rename(job.folder.with_name(name))
    done = [["standard"], ["send", {"type": "answer", "half": 1, "code": "not_due", "line": "not yet"}]]
    daemon = fake_daemon({"1": done})
    socket = str(daemon.socket) if with_daemon else "/nonexistent/socket"
    command = f"{HOOK} --strict --socket {socket} Refine3D/{name}/{star.name}"
    if not with_daemon:
        command = command.replace(" --strict", "")
    environment = os.environ | {"CRYOBRIDGE_SPAWN": "0"}
    ended = subprocess.run(
        ["sh", "-c", command], cwd=job.project, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    expected = fake_map(1, "standard")[1024:] if with_daemon else stock_map(1)
    assert job.result(1).read_bytes()[1024:] == expected
    assert job.leftovers() == []
