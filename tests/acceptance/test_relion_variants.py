"""Real RELION runs other than a plain refinement: classes, halves one after the other, a continued run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.wrappers.relion.demo import refinement
from cryobridge.wrappers.relion.demo.particles import Recipe, simulate

pytestmark = [pytest.mark.acceptance, pytest.mark.relion, pytest.mark.slow, pytest.mark.timeout(600)]

HOOK = Path(sys.executable).with_name("cryobridge-relion")
RECIPE = Recipe(box=32, pixel_size_A=4.8, n_particles=120, signal_to_noise=1.5, seed=11)
COMMON = (
    "--i data/particles.star --ref data/reference.mrc --firstiter_cc --ini_high 30 --preread_images --pool 30 --pad 2 "
    "--ctf --particle_diameter 130 --flatten_solvent --zero_mask --solvent_mask data/mask.mrc --sym C1 "
    "--oversampling 1 --healpix_order 1 --offset_range 4 --offset_step 2 --norm --scale --j 1 --random_seed 1 "
    "--external_reconstruct"
)
QUICK = {
    "ISONET_START_HEALPIX": "0",
    "ISONET_START_RESOLUTION": "99",
    "CRYOBRIDGE_STEPS": "5",
    "CRYOBRIDGE_WARM_STEPS": "3",
}


@pytest.fixture
def project(tmp_path, relion, private_runtime):
    """A project folder with the particles in it; runs started there are ended with the test."""
    refinement.prepare(tmp_path, simulate(RECIPE))
    return tmp_path


def start(project: Path, command: str, environment: dict[str, str]) -> subprocess.Popen:
    """Start RELION in its own process group, its log where a job's would be."""
    folder = project / re.search(r"--o (\S+)/", command)[1]
    folder.mkdir(parents=True, exist_ok=True)
    root = "--allow-run-as-root " if os.geteuid() == 0 else ""
    return subprocess.Popen(
        command.replace("mpirun", f"mpirun --oversubscribe {root}").split(),
        cwd=project,
        env={
            **os.environ,
            **QUICK,
            **environment,
            "RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE": str(HOOK),
            "OMP_NUM_THREADS": "1",
        },
        stdout=(folder / "run.out").open("ab"),
        stderr=(folder / "run.err").open("ab"),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process: subprocess.Popen) -> None:
    """End a run and every rank of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_file(path: Path, process: subprocess.Popen, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert process.poll() is None, f"RELION ended with {process.returncode} before {path.name}"
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.2)


def hook_lines(folder: Path) -> list[str]:
    return [line for line in (folder / "run.out").read_text(errors="replace").splitlines() if " map" in line]


def test_every_class_of_a_classification_gets_its_standard_map(project):
    command = f"relion_refine --o Class3D/job001/run --K 2 --iter 2 --tau2_fudge 4 {COMMON}"
    process = start(project, command, {})
    assert process.wait(400) == 0
    folder = project / "Class3D/job001"
    lines = [line for line in hook_lines(folder) if "cryobridge" in line]
    # With --firstiter_cc RELION reconstructs the first class only in its first iteration.
    assert len(lines) >= 3
    assert all("standard map" in line and "no half-sets" in line for line in lines)
    for number in (1, 2):
        assert np.isfinite(mrcfile.read(folder / f"run_it002_class{number:03d}.mrc")).all()
    assert not list(folder.glob("*_external_reconstruct_weight.mrc"))


def test_halves_in_turn_never_wait_and_a_continued_run_is_corrected(project):
    """`--sequential_halves_recons` would hang whoever waits for both halves; its continuation has both at a time."""
    folder = project / "Refine3D/job001"
    refine = "mpirun -n 3 relion_refine_mpi --o Refine3D/job001/run{} --auto_refine --split_random_halves"
    refine += " --dont_combine_weights_via_disc --auto_local_healpix_order 3 --low_resol_join_halves 40 "
    process = start(project, refine.format("") + f"{COMMON} --sequential_halves_recons", {})
    try:
        wait_for_file(folder / "run_it003_optimiser.star", process)
    finally:
        end(process)
    lines = [line for line in hook_lines(folder) if "cryobridge" in line]
    assert len(lines) >= 6
    assert all("--sequential_halves_recons" in line for line in lines)
    waited = max(float(seconds) for seconds in re.findall(r"waited ([\d.]+) s", "\n".join(lines)) or ["0"])
    assert waited < 5

    (folder / "run.out").unlink()
    command = refine.format("_ct3").split(" --auto_refine")[0] + " --continue Refine3D/job001/run_it003_optimiser.star"
    process = start(project, f"{command} --j 1 --external_reconstruct", {})
    try:
        wait_for_file(folder / "run_ct3_it005_optimiser.star", process)
    finally:
        end(process)
    lines = [line for line in hook_lines(folder) if "cryobridge" in line]
    assert any("corrected map" in line for line in lines), lines
