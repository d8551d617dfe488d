"""`vae.encode` finds latents of images that the model never saw, and says which of them it does not know."""

from __future__ import annotations

import csv
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from support.blob_model import blob_run
from support.literature import cites_what_it_names
from support.map_jobs import run_map_job
from support.moving_run import made_up_series, write_files
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.bridge.worker.heterogeneity.images import prepare_images
from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.bridge.worker.kinds.vae.encode.comparison import comparison_of
from cryobridge.bridge.worker.kinds.vae.encode.explained import ExplainedImages
from cryobridge.bridge.worker.kinds.vae.encode.job import encoded
from cryobridge.bridge.worker.kinds.vae.encode.page import passage
from cryobridge.core.latent import LinearModel
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.particle_images import ImageOptions
from cryobridge.wrappers.particles.reading import read_particles

pytestmark = pytest.mark.slow
T = TypeVar("T")

COUNT = 400
CPU = torch.device("cpu")


def whole(steps: Generator[object, None, T]) -> T:
    """What steps return at their end."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return cast(T, done.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished vae.linear of one set, and its particles."""
    where = tmp_path_factory.mktemp("encode")
    table = simulate("conf1d", COUNT, snr=1.0, seed=1).write(where / "old")
    run_map_job("vae.linear", where / "trained", {"particles": table}, {"contrast": "bright"})
    return where


def encode(folder: Path, output: Path, particles: SimulatedParticles) -> tuple[dict[str, Any], Path]:
    table = particles.write(output.with_name(f"{output.name}_particles"))
    inputs = {"particles": table, "run": folder / "trained"}
    result, _ = run_map_job("vae.encode", output, inputs, {"contrast": "bright"})
    return result, output


def latents(run: Path) -> np.ndarray:
    with np.load(run / "latents.npz") as found:
        return np.asarray(found["z"])


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_training_images_get_their_latents_again(folder: Path, tmp_path: Path) -> None:
    result, output = encode(folder, tmp_path / "again", simulate("conf1d", COUNT, snr=1.0, seed=1))
    before, after = latents(folder / "trained"), latents(output)
    assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.995
    assert result["metrics"]["scale"] == pytest.approx(1, abs=0.1)
    assert result["metrics"]["misfit"] == pytest.approx(1, abs=0.3)
    assert not any("strong as in the training" in line for line in result["statements"])


def test_new_images_of_the_molecule_get_latents_that_tell_its_state(folder: Path, tmp_path: Path) -> None:
    new = simulate("conf1d", COUNT, snr=1.0, seed=2)
    result, output = encode(folder, tmp_path / "new", new)
    assert abs(spearmanr(latents(output)[:, 0], new.coordinate).statistic) > 0.9
    assert not any("where the training had no particles" in line for line in result["statements"])
    found = rows(output / "images.csv")
    assert [row["number"] for row in found[:3]] == ["0", "1", "2"]
    assert "lie where the training had particles" in (output / "report.html").read_text()


def test_images_of_a_tilt_series_are_one_particle_to_compare_with(folder: Path, tmp_path: Path) -> None:
    new = simulate("conf1d", 60, snr=1.0, seed=2)
    before, _ = encode(folder, tmp_path / "single", new)
    trained = read_run(folder / "trained", torch.device("cpu"))
    write_files(
        tmp_path / "trained", trained.model, np.tile(trained.latents, (3, 1)), particles=made_up_series(COUNT, 3)
    )
    inputs = {"particles": tmp_path / "single_particles" / "particles.star", "run": tmp_path / "trained"}
    after, _ = run_map_job("vae.encode", tmp_path / "series", inputs, {"contrast": "bright"})
    assert after["metrics"]["off_the_data"] == before["metrics"]["off_the_data"]


def test_all_images_of_an_object_have_one_latent_that_is_surer_than_that_of_each(folder: Path) -> None:
    """Every image twice: what two say alike is shrunk less towards the middle than what one says."""
    model = read_run(folder / "trained", CPU).model
    assert isinstance(model, LinearModel)
    particles = read_particles(folder / "old" / "particles.star").of(np.repeat(np.arange(40), 2))
    images = whole(prepare_images(particles, ImageOptions(contrast="bright"), box=model.box, device=CPU))
    alone = whole(encoded(model, model, images, 16))
    together = whole(encoded(model, model, images, 16, torch.arange(40).repeat_interleave(2)))
    assert np.array_equal(together.latents[::2], together.latents[1::2])
    first, both = alone.latents[::2, 0], together.latents[::2, 0]
    assert np.corrcoef(first, both)[0, 1] > 0.999
    assert 1.0 < np.linalg.norm(both) / np.linalg.norm(first) < 2.0
    assert np.all(together.log_variances[:, 0] < alone.log_variances[:, 0])


def test_what_it_wrote_is_a_run(folder: Path, tmp_path: Path) -> None:
    _, output = encode(folder, tmp_path / "new", simulate("conf1d", 60, snr=1.0, seed=3))
    result, _ = run_map_job("vae.volumes", tmp_path / "volumes", {"run": output}, {"count": 2})
    assert result["metrics"]["volumes"] == 2


def test_junk_fits_worse_than_particles(folder: Path, tmp_path: Path) -> None:
    new = simulate("conf1d", COUNT, snr=1.0, seed=4, junk_share=0.3)
    _, output = encode(folder, tmp_path / "junk", new)
    correlation = np.array([float(row["correlation"]) for row in rows(output / "images.csv")])
    assert np.median(correlation[~new.junk]) > np.median(correlation[new.junk]) + 0.1


def test_images_of_finer_pixels_are_the_same_images(folder: Path, tmp_path: Path) -> None:
    fine = simulate("conf1d", COUNT, box=48, pixel_size_A=3.0, snr=1.0, seed=5)
    _, output = encode(folder, tmp_path / "fine", fine)
    assert abs(spearmanr(latents(output)[:, 0], fine.coordinate).statistic) > 0.85


def test_images_of_another_extent_are_refused_with_the_box_to_take(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"cover 120\.0 A, volumes of .* 144\.0 A; extract them with a box of 48"):
        encode(folder, tmp_path / "wide", simulate("conf1d", 30, box=40, pixel_size_A=3.0, seed=6))
    assert not (tmp_path / "wide").exists()


def test_a_model_without_an_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    trained = blob_run(tmp_path / "blobs", np.zeros((20, 2)))
    inputs = {"particles": folder / "old" / "particles.star", "run": trained}
    with pytest.raises(InputInvalid, match="its model has no encoder of single images"):
        run_map_job("vae.encode", tmp_path / "out", inputs)


def found(z: np.ndarray, scale: float) -> ExplainedImages:
    ones = np.ones(len(z), np.float32)
    return ExplainedImages(z.astype(np.float32), z.astype(np.float32), ones, ones, scale * ones, ones)


def test_other_latents_are_told_from_the_same() -> None:
    drawn = np.random.default_rng(7).standard_normal((600, 2)).astype(np.float32)
    assert comparison_of(found(drawn[:300], 1.0), drawn[300:]).doubts() == []
    said = " ".join(comparison_of(found(4 + 2 * drawn[:300], 0.5), drawn[300:]).doubts())
    assert "where the training had no particles" in said
    assert "The mean of z1 is +4" in said
    assert re.search(r"z2 spreads (1\.[89]|2\.[012]) times as far", said)
    assert "Particles are 0.50 times as strong" in said


def test_few_latents_are_not_compared() -> None:
    drawn = np.random.default_rng(8).standard_normal((30, 2)).astype(np.float32)
    assert comparison_of(found(drawn[:5] + 9, 1.0), drawn).near is None


def test_the_methods_cite_what_they_name() -> None:
    cites_what_it_names(passage(7, 2))
