"""The program behind a hook is found through the shell between them, and known to have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cryobridge.bridge.refinements.program import Refiner, find_refiner


def test_a_refinement_program_is_found_above_the_hook_and_its_end_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "relion_refine_mpi"
    program.symlink_to(os.path.realpath(sys.executable))
    # As RELION does: a shell between the program and the hook.
    script = "import subprocess; subprocess.run(['sh', '-c', 'echo $$; read line; true'])"
    relion = subprocess.Popen([str(program), "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    hook = int(relion.stdout.readline())
    refiner = find_refiner(hook)
    assert refiner is not None
    assert refiner.pid == relion.pid
    assert refiner.alive()
    assert not Refiner(relion.pid, refiner.created - 100).alive()
    relion.communicate("\n", timeout=10)
    assert not refiner.alive()


def test_without_a_refinement_program_there_is_none() -> None:
    assert find_refiner(os.getpid()) is None
    assert find_refiner(2**22 + 1) is None
    assert find_refiner(0) is None
    assert find_refiner(-5) is None
