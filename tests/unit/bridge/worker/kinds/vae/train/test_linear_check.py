"""A linear model beside a published training: it says what is real, and whether the latents have found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.map_jobs import run_map_job
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.bridge.worker.heterogeneity.drawn import DrawnFigures
from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.bridge.worker.kinds.vae.train import linear_check
from cryobridge.bridge.worker.kinds.vae.train.linear_check import missed_warnings, told_by_scores

OPTIONS: dict[str, Any] = {
    "method": "published",
    "zdim": 2,
    "num_epochs": 1,
    "batch_size": 8,
    "enc_dim": 32,
    "enc_layers": 1,
    "dec_dim": 32,
    "dec_layers": 1,
    "contrast": "bright",
}
MISSED = "A linear model, which has modes above noise, tells"


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("twostate", 200, box=20, pixel_size_A=7.0, snr=1.0, seed=1)


@pytest.fixture(scope="module")
def table(particles: SimulatedParticles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return particles.write(tmp_path_factory.mktemp("particles"))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DrawnFigures, "add", lambda *_, **__: None)


def start_of(scores: torch.Tensor, above_noise: int) -> Any:
    """What a check needs of a linear model."""
    return SimpleNamespace(scores=scores, reality=SimpleNamespace(metrics={"modes_above_noise": above_noise}))


def test_a_latent_whose_sign_differs_from_view_to_view_is_told_of() -> None:
    """It holds all that the right one holds, and is no use: a volume at a latent would be another one in each view."""
    generator = torch.Generator().manual_seed(1)
    motion, view = torch.randn(2, 2000, generator=generator)
    start = start_of(motion[:, None], 1)
    right = (2 * motion + 0.3 * torch.randn(2000, generator=generator))[:, None].numpy()
    twisted = right * np.sign(view.numpy())[:, None]
    assert told_by_scores(right, start) > 0.9
    assert missed_warnings(told_by_scores(right, start), start) == []
    assert told_by_scores(twisted, start) < 0.05
    assert MISSED in missed_warnings(told_by_scores(twisted, start), start)[0]


def test_nothing_is_missed_where_nothing_is_above_noise() -> None:
    assert missed_warnings(0.0, start_of(torch.randn(10, 1), 0)) == []


def test_a_network_that_has_learned_nothing_yet_is_said_to_have_missed_what_is_there(
    table: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    result, _ = run_map_job("vae.train", output, {"particles": table}, {**OPTIONS, "lr": 1e-6})
    assert result["metrics"]["modes_above_noise"] >= 1
    assert result["metrics"]["latents_told"] < 0.3
    assert any(MISSED in line for line in result["statements"])
    assert "was not tested" not in (output / "report.html").read_text()
    assert not list(output.glob(".*.safetensors"))


def test_latents_that_tell_the_states_are_not_said_to_have_missed_them(
    table: Path, particles: SimulatedParticles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same job and images, but what the network found is the truth."""
    truth = particles.coordinate[:, None].astype(np.float32)
    really = linear_check.told_by_scores
    monkeypatch.setattr(linear_check, "told_by_scores", lambda _, start: really(truth, start))
    result, _ = run_map_job("vae.train", tmp_path / "run", {"particles": table}, {**OPTIONS, "lr": 1e-6})
    assert not any(MISSED in line for line in result["statements"])


def test_nothing_found_is_said_of_images_of_one_volume(tmp_path: Path) -> None:
    table = simulate("homogeneous", 200, box=20, pixel_size_A=7.0, snr=0.3, seed=2).write(tmp_path)
    result, _ = run_map_job("vae.train", tmp_path / "run", {"particles": table}, OPTIONS)
    assert any(line.startswith("Nothing was found: no mode stands out") for line in result["statements"])
    assert not any(MISSED in line for line in result["statements"])


@pytest.mark.parametrize("options", [{"controls": False}, {"zdim": 0}])
def test_nothing_is_fitted_without_controls_or_latents(
    options: dict[str, Any], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(linear_check, "Starting")
    result, _ = run_map_job("vae.train", tmp_path / "run", {"particles": table}, {**OPTIONS, **options})
    assert result["metrics"]["latents_told"] is None
    assert "eigenvalue_over_null" not in result["metrics"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("an axis of nothing"), ValueError("too few")])
def test_a_check_that_fails_costs_the_training_nothing(
    error: Exception, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> Iterator[None]:
        yield None
        raise error

    monkeypatch.setattr(linear_check.Starting, "result", fails)
    output = tmp_path / "run"
    result, _ = run_map_job("vae.train", output, {"particles": table}, OPTIONS)
    assert len(read_run(output, torch.device("cpu")).latents) == 200
    assert result["metrics"]["latents_told"] is None
    assert "no linear model could be held against it" in (output / "run.log").read_text()
