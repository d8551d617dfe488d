"""A training that is interrupted ends with the weights of one that was not: by a call, by a cancel, by a kill.

Networks are compared weight by weight, in the file that the job leaves; on a CPU to 1e-6.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.correction_job import correction_job
from support.refinement import Refinement
from support.refinement import simulate as simulate_refinement
from support.simulated_particles import simulate
from support.worker import RealWorker

pytestmark = pytest.mark.slow

TOLERANCE = 1e-6
CHECKPOINTS = 3
CHECKPOINT = {"vae.train": ".network*.safetensors", "map.correct": ".checkpoint.safetensors"}
DONE_S = 240.0
KINDS = ("vae.train", "map.correct")
NETWORK = {"vae.train": "model.safetensors", "map.correct": "network.safetensors"}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """A job of each kind; its training is long enough to be caught half way."""
    folder = tmp_path_factory.mktemp("given")
    particles = simulate("twostate", 240, box=16, pixel_size_A=8.0, snr=1.0, seed=1).write(folder)
    often = {"checkpoint_every_s": 0.02}
    learning = {
        "schema": "cryobridge/job/1",
        "kind": "vae.train",
        "inputs": {"particles": str(particles)},
        "output": str(folder / "vae"),
        "options": {"zdim": 2, "epochs": 8, "batch": 8, "contrast": "bright", **often},
    }
    return {
        "vae.train": learning,
        "map.correct": correction_job(folder, steps=40, preset="tiny", start="anew", **often),
    }


@pytest.fixture(scope="module")
def worker() -> Iterator[RealWorker]:
    """One for all, as in the service; only who is killed has one of its own."""
    one = started()
    yield one
    one.end()


@pytest.fixture(scope="module")
def weights(
    worker: RealWorker, given: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, np.ndarray]]:
    """Those of trainings that nothing interrupted."""
    return {kind: trained(worker, given[kind], tmp_path_factory.mktemp("alone") / "out") for kind in KINDS}


@pytest.fixture(scope="module")
def refinement(tmp_path_factory: pytest.TempPathFactory) -> Refinement:
    return Refinement.start(tmp_path_factory.mktemp("refinement") / "project", simulate_refinement(), {})


def started() -> RealWorker:
    one = RealWorker()
    one.reply("ready")
    return one


def begin(worker: RealWorker, spec: dict[str, Any], output: Path, task: str = "train") -> dict[str, Any]:
    """Hand a job over as the daemon does: under a name, by which it is known again."""
    placed = {**spec, "output": str(output), "run": {"request_id": "training"}}
    worker.channel.send({"type": "job", "task": task, "job_id": "train", "spec": placed})
    return placed


def half_way(kind: str, output: Path) -> None:
    """Wait until the training itself has come some way: its checkpoint was replaced a few times."""
    end = time.monotonic() + DONE_S
    seen: set[int] = set()
    while len(seen) < CHECKPOINTS:
        for path in output.glob(CHECKPOINT[kind]):
            with contextlib.suppress(FileNotFoundError):
                seen.add(path.stat().st_mtime_ns)
        if time.monotonic() > end:
            raise TimeoutError("the training never came half way")
        time.sleep(0.002)


def trained(worker: RealWorker, spec: dict[str, Any], output: Path) -> dict[str, np.ndarray]:
    begin(worker, spec, output)
    worker.reply("done", DONE_S)
    return network(spec, output)


def network(spec: dict[str, Any], output: Path) -> dict[str, np.ndarray]:
    return load_file(output / NETWORK[spec["kind"]])


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    assert sum(values.size for values in expected.values()) > 1000
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_gave_way_to_a_call_has_the_same_weights(
    kind: str,
    worker: RealWorker,
    given: dict[str, dict[str, Any]],
    weights: dict[str, dict[str, np.ndarray]],
    refinement: Refinement,
    tmp_path: Path,
) -> None:
    answers = tmp_path / "answers"
    answers.mkdir()
    begin(worker, given[kind], tmp_path / "out")
    half_way(kind, tmp_path / "out")
    worker.send_half("call", refinement.project, refinement.write_call(3, 1), 1, answers)
    # The call is answered before the training is over, or it was none that interrupted it.
    assert worker.reply(("standard", "done"), DONE_S).type == "standard"
    worker.channel.send({"type": "forget", "task": "call"})
    worker.reply("forgotten")
    worker.reply("done", DONE_S)
    assert_same(network(given[kind], tmp_path / "out"), weights[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_was_cancelled_and_handed_over_again_has_the_same_weights(
    kind: str,
    worker: RealWorker,
    given: dict[str, dict[str, Any]],
    weights: dict[str, dict[str, np.ndarray]],
    tmp_path: Path,
) -> None:
    begin(worker, given[kind], tmp_path / "out")
    half_way(kind, tmp_path / "out")
    worker.channel.send({"type": "cancel", "task": "train"})
    assert worker.reply(("failed", "done"), DONE_S).message["type"] == "failed"
    begin(worker, given[kind], tmp_path / "out", "again")
    worker.reply("done", DONE_S)
    assert "goes on after step" in (tmp_path / "out" / "run.log").read_text()
    assert_same(network(given[kind], tmp_path / "out"), weights[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_one_whose_worker_was_killed_has_the_same_weights(
    kind: str,
    worker: RealWorker,
    given: dict[str, dict[str, Any]],
    weights: dict[str, dict[str, np.ndarray]],
    tmp_path: Path,
) -> None:
    first = started()
    try:
        begin(first, given[kind], tmp_path / "out")
        half_way(kind, tmp_path / "out")
    finally:
        first.process.kill()
        first.end()
    begin(worker, given[kind], tmp_path / "out")
    worker.reply("done", DONE_S)
    assert "goes on after step" in (tmp_path / "out" / "run.log").read_text()
    assert_same(network(given[kind], tmp_path / "out"), weights[kind])


def test_one_that_left_its_device_for_another_daemons_call_has_the_same_weights(
    worker: RealWorker,
    given: dict[str, dict[str, Any]],
    weights: dict[str, dict[str, np.ndarray]],
    tmp_path: Path,
) -> None:
    kind = "vae.train"
    begin(worker, given[kind], tmp_path / "out")
    half_way(kind, tmp_path / "out")
    worker.channel.send({"type": "leave_device"})
    worker.reply("device_left")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob(CHECKPOINT[kind])}
    time.sleep(0.5)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob(CHECKPOINT[kind])}
    worker.channel.send({"type": "come_back"})
    worker.reply("done", DONE_S)
    assert_same(network(given[kind], tmp_path / "out"), weights[kind])


def test_one_in_the_midst_of_which_an_interactive_job_was_done_has_the_same_weights(
    worker: RealWorker,
    given: dict[str, dict[str, Any]],
    weights: dict[str, dict[str, np.ndarray]],
    tmp_path: Path,
) -> None:
    kind = "map.correct"
    begin(worker, given[kind], tmp_path / "out")
    half_way(kind, tmp_path / "out")
    quick = {"schema": "cryobridge/job/1", "kind": "check", "output": str(tmp_path / "check")}
    worker.channel.send({"type": "urgent_job", "task": "quick", "job_id": "quick", "spec": quick})
    assert worker.reply("done", DONE_S).message["task"] == "quick", "it does not wait for the training's end"
    assert worker.reply("done", DONE_S).message["task"] == "train"
    assert_same(network(given[kind], tmp_path / "out"), weights[kind])
