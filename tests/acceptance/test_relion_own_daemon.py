"""A real RELION refinement under `cryobridge with`: corrected by a daemon of its own, and ended by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cryobridge.wrappers.relion.demo import jobfiles, refinement
from cryobridge.wrappers.relion.demo.particles import Recipe, simulate

pytestmark = [pytest.mark.acceptance, pytest.mark.relion, pytest.mark.slow, pytest.mark.timeout(600)]

RECIPE = Recipe(box=32, pixel_size_A=4.8, n_particles=120, signal_to_noise=1.5, seed=11)
REFINE = (
    f"relion_refine_mpi --o {jobfiles.ROOT} --auto_refine --split_random_halves --i data/particles.star "
    "--ref data/reference.mrc --firstiter_cc --ini_high 30 --preread_images --pool 30 --pad 2 --ctf "
    "--particle_diameter 130 --flatten_solvent --zero_mask --solvent_mask data/mask.mrc --sym C1 --oversampling 1 "
    "--healpix_order 1 --auto_local_healpix_order 3 --offset_range 4 --offset_step 2 --norm --scale --j 1 "
    "--dont_combine_weights_via_disc --low_resol_join_halves 40 --random_seed 1 --external_reconstruct"
)
EARLY = {"ISONET_START_HEALPIX": "0", "ISONET_START_RESOLUTION": "99", "CRYOBRIDGE_EFFORT": "quick"}


def test_a_refinement_is_corrected_and_summed_up_at_its_end(
    tmp_path: Path, relion: object, private_runtime: object
) -> None:
    refinement.prepare(tmp_path, simulate(RECIPE))
    folder = (tmp_path / jobfiles.ROOT).parent
    folder.mkdir(parents=True, exist_ok=True)
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    with (folder / "run.out").open("wb") as out, (folder / "run.err").open("wb") as err:
        process = subprocess.Popen(
            [
                *[sys.executable, "-m", "cryobridge.bridge.cli", "with", "--keep-log", "--"],
                *["mpirun", "--oversubscribe", *root, "-n", "3", *REFINE.split()],
            ],
            cwd=tmp_path,
            env={**os.environ, **EARLY, "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
        )
    third = tmp_path / f"{jobfiles.ROOT}_it003_optimiser.star"
    deadline = time.monotonic() + 400
    while not third.exists():
        assert process.poll() is None, (folder / "run.err").read_text()[-2000:]
        assert time.monotonic() < deadline, (folder / "run.out").read_text()[-2000:]
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    code = process.wait(120)
    said = (folder / "run.out").read_text(errors="replace")
    assert f"the program ended with status {code}" in said
    assert code != 0
    assert "starting one" not in said
    assert "iterations answered: " in said
    assert "corrected (iterations " in said
    assert "last resolution " in said
    log = folder / "run.cryobridge/cryobridge-daemon.log"
    assert f"the daemon's log: {log}" in said
    assert '"event": "daemon ended"' in log.read_text()
    ready = next(line for line in log.read_text().splitlines() if '"event": "daemon ready"' in line)
    place = Path(json.loads(ready)["socket"]).parent
    assert not place.exists()
    assert [one.pid for one in psutil.process_iter(["cmdline"]) if str(place) in str(one.info["cmdline"])] == []
