"""`vae.train`, the fast method: learns what is known, goes on after a kill, stops at numbers that run away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.map_jobs import run_map_job
from support.simulated_particles import SimulatedParticles, simulate
from support.thread_ranks import on_ranks

from cryobridge.bridge.worker.heterogeneity import images as images_module
from cryobridge.bridge.worker.heterogeneity import preparation as preparation_module
from cryobridge.bridge.worker.heterogeneity.drawn import DrawnFigures
from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.bridge.worker.jobs.context import Context
from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.vae.train import network as network_module
from cryobridge.bridge.worker.kinds.vae.train.job import run
from cryobridge.core.training import Ranks, Trainer
from cryobridge.schemas.errors import BadResult, CryobridgeError, InputInvalid
from cryobridge.schemas.job import parse_job

CPU = torch.device("cpu")
OPTIONS: dict[str, Any] = {"zdim": 2, "epochs": 3, "batch": 8, "lr": 5e-3, "contrast": "bright", "held_out": 16}


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("twostate", 200, box=20, pixel_size_A=7.0, snr=1.0, seed=1)


@pytest.fixture(scope="module")
def table(particles: SimulatedParticles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return particles.write(tmp_path_factory.mktemp("particles"))


@pytest.fixture(scope="module")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("trained") / "run"
    result, _ = run_map_job("vae.train", output, {"particles": table}, OPTIONS)
    return output, result


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first training, which is older than this fixture, draws the figures of its report."""
    monkeypatch.setattr(DrawnFigures, "add", lambda *_, **__: None)


def spec_of(table: Path, output: Path, **options: Any) -> dict[str, Any]:
    chosen = {**OPTIONS, **options}
    return {
        "schema": "cryobridge/job/1",
        "kind": "vae.train",
        "inputs": {"particles": str(table)},
        "output": str(output),
        "options": chosen,
    }


def test_latents_tell_the_two_states_apart(trained: tuple[Path, dict[str, Any]], particles: SimulatedParticles) -> None:
    z = read_run(trained[0], CPU).latents
    first = (z - z.mean(0)) @ np.linalg.svd(z - z.mean(0), full_matrices=False)[2][0]
    truth = particles.coordinate > 0.5
    ranks = np.argsort(np.argsort(first))
    area = (ranks[truth].mean() - (truth.sum() - 1) / 2) / (~truth).sum()
    assert max(area, 1 - area) > 0.97


def test_volumes_differ_as_the_states_do(trained: tuple[Path, dict[str, Any]], particles: SimulatedParticles) -> None:
    run_ = read_run(trained[0], CPU)
    means = [run_.latents[(particles.coordinate > 0.5) == state].mean(0) for state in (False, True)]
    found = run_.model.volumes(torch.from_numpy(np.stack(means)))
    difference = (found[1] - found[0]).flatten().numpy()
    truth = (particles.volume(1.0) - particles.volume(0.0)).ravel()
    assert np.corrcoef(difference, truth)[0, 1] > 0.6


def test_what_is_kept_out_is_told_better_than_by_the_consensus(trained: tuple[Path, dict[str, Any]]) -> None:
    _, result = trained
    assert result["metrics"]["held_out"] < 0
    assert result["metrics"]["loss_last"] < result["metrics"]["loss_first"]
    assert result["options"]["held_out"] == 16


def test_a_run_opens_with_its_epochs_and_its_model_encodes_its_images(
    trained: tuple[Path, dict[str, Any]], particles: SimulatedParticles
) -> None:
    run_ = read_run(trained[0], CPU)
    assert sorted(run_.epochs) == [1, 2, 3]
    assert np.array_equal(run_.latents_of_epoch(3), run_.latents)
    assert run_.particles is not None
    assert len(run_.particles) == len(run_.latents) == len(particles)


def test_the_report_shows_volumes_latents_and_the_course_of_the_training(trained: tuple[Path, dict[str, Any]]) -> None:
    page = (trained[0] / "report.html").read_text()
    titles = (
        "Volumes along the first component",
        "Latents",
        "Latents against what is not of the molecule",
        "Learning curve",
        "Information by number of the latent",
    )
    assert all(f'alt="{title}"' in page for title in titles)
    assert "could not be drawn" not in page
    table = (trained[0] / "training.csv").read_text().splitlines()
    assert table[0] == "epoch,loss,data,kl,held_out,seconds"
    assert len(table) == 4


def test_a_killed_training_ends_with_the_bits_of_a_straight_one(
    table: Path, tmp_path: Path, trained: tuple[Path, dict[str, Any]]
) -> None:
    spec = spec_of(table, tmp_path / "run", checkpoint_every_s=1e-6)
    steps = run_job(spec, CPU)
    for step in steps:
        if step is not None and "step 31/" in step.text:
            break
    steps.close()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    said = [step.text for step in run_job(spec, CPU) if step is not None]
    assert not any("step 30/" in text for text in said)
    straight, resumed = (load_file(folder / "model.safetensors") for folder in (trained[0], tmp_path / "run"))
    assert all(torch.equal(straight[name], value) for name, value in resumed.items())
    assert not list((tmp_path / "run").glob(".*.safetensors"))


def test_a_call_is_let_in_while_images_are_read_and_no_bit_depends_on_that(
    table: Path, tmp_path: Path, trained: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs of 200 images, 16 at once."""
    monkeypatch.setattr(images_module, "_SHARE_OF_FREE", 0.0)
    monkeypatch.setattr(preparation_module, "_CHUNK_BYTES", 0)
    texts = [None if step is None else step.text for step in run_job(spec_of(table, tmp_path / "read"), CPU)]
    first = next(place for place, text in enumerate(texts) if text and text.startswith("epoch 1/3"))
    last = next(place for place, text in enumerate(texts) if text and text.startswith("epoch 3/3"))
    assert texts[first - 13 : first] == texts[last - 13 : last] == [None] * 13
    assert np.array_equal(read_run(tmp_path / "read", CPU).latents, read_run(trained[0], CPU).latents)


def test_two_processes_learn_what_one_does(table: Path, tmp_path: Path) -> None:
    alone, _ = run_map_job("vae.train", tmp_path / "alone", {"particles": table}, {**OPTIONS, "epochs": 1})
    job = parse_job(spec_of(table, tmp_path / "shared", epochs=1), "test").resolved(tmp_path)

    def work(ranks: Ranks) -> dict[str, Any]:
        folder = OutputFolder(job, CPU, writes=ranks.index == 0)
        steps = run(job, Context(CPU, folder, ranks))
        try:
            while True:
                next(steps)
        except StopIteration as end:
            return dict(end.value)
        finally:
            folder.close()

    shared, nothing = on_ranks(2, work)
    assert nothing == {}
    for name in ("loss_last", "held_out", "information_nats"):
        assert shared["metrics"][name] == pytest.approx(alone["metrics"][name], rel=1e-3)


def test_numbers_that_run_away_once_cost_half_the_rate(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail(monkeypatch, times=1)
    result, _ = run_map_job("vae.train", tmp_path / "run", {"particles": table}, {**OPTIONS, "epochs": 1})
    assert any("the loss is nan at step 4" in line for line in result["statements"])
    assert len(read_run(tmp_path / "run", CPU).epochs) == 1


def test_numbers_that_run_away_again_and_again_end_it(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail(monkeypatch, times=99)
    with pytest.raises((BadResult, CryobridgeError), match="training failed: the loss is nan"):
        run_map_job("vae.train", tmp_path / "run", {"particles": table}, OPTIONS)


def test_seeds_are_compared(table: Path, tmp_path: Path) -> None:
    result, _ = run_map_job("vae.train", tmp_path / "run", {"particles": table}, {**OPTIONS, "epochs": 1, "seeds": 2})
    assert 0.5 < result["metrics"]["seeds_agree"] <= 1
    assert result["seeds"] == {"network 1": 0, "network 2": 1}


def test_an_earlier_training_is_gone_on_with(table: Path, tmp_path: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    inputs = {"particles": table, "load": trained[0]}
    result, _ = run_map_job("vae.train", tmp_path / "run", inputs, {**OPTIONS, "epochs": 1})
    assert result["metrics"]["loss_first"] < trained[1]["metrics"]["loss_first"]


def test_an_earlier_training_of_another_shape_is_refused(
    table: Path, tmp_path: Path, trained: tuple[Path, dict[str, Any]]
) -> None:
    with pytest.raises(InputInvalid, match=r"\(load\): holds a model 'film' of 2 numbers in a box of 20, not one"):
        run_map_job("vae.train", tmp_path / "run", {"particles": table, "load": trained[0]}, {**OPTIONS, "zdim": 3})


def test_too_few_particles_are_refused(tmp_path: Path) -> None:
    few = simulate("twostate", 6, box=20, pixel_size_A=7.0, seed=1).write(tmp_path / "few")
    with pytest.raises(InputInvalid, match="6 particles are too few"):
        run_map_job("vae.train", tmp_path / "run", {"particles": few}, {**OPTIONS, "held_out": 0, "zdim": 4})
    assert not (tmp_path / "run").exists()


def _fail(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The loss is not finite at the fourth step, so often."""
    left = [times]

    class Failing(Trainer):
        def _step(self, name: str, learner: Any, batch: Any, rate: float) -> dict[str, float]:
            found = super()._step(name, learner, batch, rate)
            if len(self._record.losses) == 3 and left[0] > 0:
                left[0] -= 1
                return dict.fromkeys(found, float("nan"))
            return found

    monkeypatch.setattr(network_module, "Trainer", Failing)
