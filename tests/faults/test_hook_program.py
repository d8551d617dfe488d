"""The real hook hands over the RELION above it, and sends a call all the same where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

HOOK = f"{sys.executable} -I -m cryobridge.wrappers.relion.hook.main"
# As RELION does: a shell between program and hook.
RANK = "import os, sys; print(os.getpid(), flush=True); os.system(sys.argv[1] + '; true')"
FOUND = (
    "import os\n"
    "from pathlib import Path\n"
    "from cryobridge.wrappers.relion.hook.processes import refinement_program\n"
    "fd = refinement_program()\n"
    "lines = [] if fd is None else Path(f'/proc/self/fdinfo/{fd}').read_text().split('\\n')\n"
    "print([line.split()[1] for line in lines if line.startswith('Pid:')])\n"
)
DONE = [["standard"], ["send", {"type": "answer", "half": 1, "code": "not_due", "line": ""}]]


def relion(folder: Path, name: str, command: str, **options) -> subprocess.CompletedProcess[str]:
    """Run a command as a RELION of that name runs its hook."""
    program = folder / name
    program.symlink_to(os.path.realpath(sys.executable))
    return subprocess.run(
        [str(program), "-I", "-c", RANK, command], stdout=subprocess.PIPE, text=True, timeout=60, check=True, **options
    )


@pytest.mark.parametrize(("name", "found"), [("relion_refine_mpi", True), ("relion_reconstruct", False)])
def test_the_refinement_above_is_found_through_the_shell_and_no_other_program(
    tmp_path: Path, name: str, found: bool
) -> None:
    (tmp_path / "find.py").write_text(FOUND)
    pid, said = relion(tmp_path, name, f"{sys.executable} -I {tmp_path / 'find.py'}").stdout.split("\n")[:2]
    assert said == str([pid] if found else [])


@pytest.mark.parametrize(("name", "found"), [("relion_refine_mpi", True), ("python_alone", False)])
def test_a_call_carries_it_under_its_name(job, fake_daemon, name: str, found: bool) -> None:
    daemon = fake_daemon({"1": DONE})
    environment = os.environ | {"CRYOBRIDGE_SOCKET": str(daemon.socket), "CRYOBRIDGE_SPAWN": "0"}
    relion(job.project, name, f"{HOOK} {job.add_call(1)}", cwd=job.project, env=environment)
    (call,) = daemon.await_received("call")
    assert ("program" in json.dumps(call)) is found
    assert job.result(1).exists()
