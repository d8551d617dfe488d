"""A call of RELION while particles are learned from: answered between two steps, and the training does not notice."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from support.refinement import Refinement
from support.refinement import simulate as simulate_refinement
from support.simulated_particles import simulate
from support.worker import RealWorker

pytestmark = pytest.mark.slow

EPOCHS = 5
PAUSE_S = 0.3


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    particles = simulate("twostate", 1000, box=16, pixel_size_A=8.0, snr=1.0, seed=1)
    return particles.write(tmp_path_factory.mktemp("particles"))


@pytest.fixture(scope="module")
def refinement(tmp_path_factory: pytest.TempPathFactory) -> Refinement:
    return Refinement.start(tmp_path_factory.mktemp("refinement") / "project", simulate_refinement(), {})


def begin(worker: RealWorker, table: Path, output: Path) -> None:
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "vae.train",
        "inputs": {"particles": str(table)},
        "output": str(output),
        "options": {"zdim": 2, "epochs": EPOCHS, "batch": 8, "contrast": "bright"},
    }
    worker.channel.send({"type": "job", "task": "train", "job_id": "train", "spec": spec})


def latents(output: Path) -> np.ndarray:
    with np.load(output / "latents.npz") as found:
        return np.array(found["z"])


def test_calls_are_answered_all_along_and_the_latents_are_the_same(
    table: Path, refinement: Refinement, tmp_path: Path
) -> None:
    worker = RealWorker()
    worker.reply("ready")
    try:
        begin(worker, table, tmp_path / "alone")
        worker.reply("done", timeout_s=240)

        outputs = tmp_path / "answers"
        outputs.mkdir()
        star = refinement.write_call(3, 1)
        waits: list[float] = []
        began = time.monotonic()
        begin(worker, table, tmp_path / "beside")
        while True:
            name = f"call{len(waits)}"
            sent = time.monotonic()
            worker.send_half(name, refinement.project, star, 1, outputs)
            if worker.reply(("standard", "done"), timeout_s=240).type == "done":
                break
            waits.append(time.monotonic() - sent)
            worker.channel.send({"type": "forget", "task": name})
            worker.reply("forgotten")
            # RELION computes between two calls, and so does the training.
            time.sleep(PAUSE_S)
        took = time.monotonic() - began
    finally:
        worker.end()
    assert len(waits) >= 5
    assert max(waits) < took / 4
    assert np.array_equal(latents(tmp_path / "alone"), latents(tmp_path / "beside"))
