"""The published method on tilt pairs and tilt series, and from several seeds."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from support.map_jobs import read_back, run_map_job
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.bridge.worker.heterogeneity import reality
from cryobridge.bridge.worker.heterogeneity.drawn import DrawnFigures
from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.vae.train.seeds import seed_warnings
from cryobridge.core.latent import CoordinateModel, published
from cryobridge.schemas.errors import OptionsInvalid
from cryobridge.wrappers.formats.array_file import read_arrays

CPU = torch.device("cpu")
OPTIONS: dict[str, Any] = {
    "method": "published",
    "zdim": 2,
    "num_epochs": 1,
    "batch_size": 8,
    "lr": 1e-3,
    "enc_dim": 16,
    "enc_layers": 1,
    "dec_dim": 16,
    "dec_layers": 1,
    "contrast": "bright",
}
COUNT = 24


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DrawnFigures, "add", lambda *_, **__: None)


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("twostate", COUNT, 16)


@pytest.fixture(scope="module")
def table(particles: SimulatedParticles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return particles.write(tmp_path_factory.mktemp("particles"))


@pytest.fixture(scope="module")
def tilted(particles: SimulatedParticles, table: Path) -> Path:
    path = table.with_name("tilted.mrcs")
    with mrcfile.new(path, np.ascontiguousarray(particles.images[:, ::-1])) as file:
        file.set_image_stack()
    return path


def test_a_tilt_pair_has_one_latent_and_the_row_of_its_first_image(table: Path, tilted: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "encode_mode": "tilt", "tilt_deg": 50, "checkpoint": 1}
    result, _ = run_map_job("vae.train", tmp_path / "out", {"particles": table, "tilt": tilted}, options)
    run = read_run(tmp_path / "out", CPU)
    assert run.latents.shape == run.latents_of_epoch(1).shape == (COUNT, 2)
    assert run.particles is not None
    assert run.particles.tilts is None
    assert len(run.particles) == result["metrics"]["particles"] == COUNT
    assert {run.particles.stacks[number].name for number in run.particles.stack} == {"particles.mrcs"}


def test_junk_of_tilt_pairs_is_listed_by_the_rows_of_first_images(
    table: Path, tilted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Second images come last and have no row, so they cannot be selected."""
    monkeypatch.setattr(reality.SubspaceControls, "junk", property(lambda _: np.array([3, COUNT + 2])))
    options = {**OPTIONS, "encode_mode": "tilt", "tilt_deg": 50}
    result, _ = run_map_job("vae.train", tmp_path / "out", {"particles": table, "tilt": tilted}, options)
    assert result["metrics"]["junk"] == 2
    assert read_arrays(tmp_path / "out" / "junk.npz")["indices"].tolist() == [3]


def test_pairs_are_refused_where_they_mean_nothing(table: Path, tilted: Path, tmp_path: Path) -> None:
    inputs = {"particles": table, "tilt": tilted}
    for options, why in (
        ({}, "'method: published' and 'encoder: tilt'"),
        ({**OPTIONS, "encoder": "tilt", "learn_poses": True}, "keep their poses"),
        ({**OPTIONS, "encoder": "tilt", "zdim": 0}, "need a latent"),
    ):
        with pytest.raises(OptionsInvalid, match=why):
            run_map_job("vae.train", tmp_path / "out", inputs, options)


def test_pixels_count_by_their_weights() -> None:
    """Those of weight 0 may say anything."""
    loss = published.PublishedLoss(1.0)
    predicted, seen = torch.zeros(2, 3, 4, 2), torch.ones(2, 3, 4, 2)
    weights = torch.ones(2, 3, 4)
    weights[:, 1:] = 0
    seen[:, 1:] = 1e6
    assert float(loss.data(predicted, seen, weights)) == pytest.approx(2 / 3)
    assert float(loss.data(predicted[:, :1], seen[:, :1])) == pytest.approx(2.0)


def test_seeds_of_the_published_method_are_compared(table: Path, tmp_path: Path) -> None:
    """The first is the result, bit for bit what it is alone."""
    result, _ = run_map_job("vae.train", tmp_path / "two", {"particles": table}, {**OPTIONS, "seeds": 2})
    run_map_job("vae.train", tmp_path / "one", {"particles": table}, OPTIONS)
    assert 0 <= result["metrics"]["seeds_agree"] <= 1
    assert result["seeds"] == {"network 1": 0, "network 2": 1}
    assert np.array_equal(read_run(tmp_path / "two", CPU).latents, read_run(tmp_path / "one", CPU).latents)
    assert not list((tmp_path / "two").glob(".seed_*"))


def test_an_analysis_may_end_a_training_and_never_costs_it(table: Path, tmp_path: Path) -> None:
    """A latent of one number has a component, clusters and volumes like any other; two particles have none."""
    options = {**OPTIONS, "zdim": 1, "analysis": True}
    run_map_job("vae.train", tmp_path / "out", {"particles": table}, options)
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"analysis.npz", "analysis.html", "report.html", "clusters.csv", "kmeans_000.mrc", "pc1_009.mrc"} <= there
    assert "pc2_000.mrc" not in there
    (tmp_path / "two.txt").write_text("0\n1\n")
    inputs = {"particles": table, "selection": tmp_path / "two.txt"}
    result, _ = run_map_job("vae.train", tmp_path / "few", inputs, options)
    assert any("could not be analysed" in line and "too few" in line for line in result["statements"])
    assert read_run(tmp_path / "few", CPU).latents.shape == (2, 1)


def test_latents_learned_one_by_one_go_on_after_an_interruption(table: Path, tmp_path: Path) -> None:
    """With the moments that Adam keeps of each: the same bits as without one; so do poses beside them."""
    options = {**OPTIONS, "encoder": "table", "num_epochs": 2, "do_pose_sgd": True, "checkpoint_every_s": 1e-6}
    run_map_job("vae.train", tmp_path / "straight", {"particles": table}, options)
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "vae.train",
        "inputs": {"particles": str(table)},
        "output": str(tmp_path / "cut"),
        "options": options,
    }
    steps = run_job(spec, CPU)
    for step in steps:
        if step is not None and "step 4/" in step.text:
            break
    steps.close()
    inputs = {"particles": table}
    run_map_job("vae.train", tmp_path / "cut", inputs, options)
    assert "goes on after step 4" in (tmp_path / "cut/run.log").read_text()
    straight, cut = (read_run(tmp_path / name, CPU) for name in ("straight", "cut"))
    assert np.array_equal(straight.latents, cut.latents)
    assert straight.particles is not None
    assert cut.particles is not None
    assert np.array_equal(np.asarray(straight.particles.rotations), np.asarray(cut.particles.rotations))


def test_seeds_without_a_latent_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsInvalid, match="'seeds' compares latents"):
        run_map_job("vae.train", tmp_path / "out", {"particles": table}, {"zdim": 0, "seeds": 2})


@pytest.fixture(scope="module")
def series(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real tilt series: 6 ribosomes in 219 images."""
    folder, where = shared / "data/particles", tmp_path_factory.mktemp("series")
    for name in ("sta_testing_bin8.star", "ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs"):
        (where / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
    return where / "sta_testing_bin8.star"


def test_a_real_tilt_series_is_learned_object_by_object(series: Path, tmp_path: Path) -> None:
    """All images of an object have its latent, and those of high dose and angle count less."""
    options = {**OPTIONS, "encode_mode": "tiltseries", "ntilts": 5, "t_emb_dim": 8, "tdim": 16, "tlayers": 1, "box": 24}
    losses = {}
    for weighted in (True, False):
        output = tmp_path / f"{weighted}"
        chosen = {**options, "batch_size": 2, "tilt_weights": weighted}
        result, _ = run_map_job("vae.train", output, {"particles": series}, chosen)
        losses[weighted] = result["metrics"]["loss_first"]
        run = read_run(output, CPU)
        assert run.latents.shape == (219, 2)
        assert run.particles is not None
        assert run.particles.tilts is not None
        assert len(np.unique(run.latents, axis=0)) == 6
        of = run.particles.tilts.particle
        assert all(len(np.unique(run.latents[of == one], axis=0)) == 1 for one in range(6))
        damped = run.particles.ctf is not None and bool(run.particles.ctf.bfactor_A2.any())
        assert damped is not weighted
    assert losses[True] < 0.95 * losses[False]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("vae.train", {"zdim": 2, "epochs": 1, "box": 24, "contrast": "dark", "controls": False, "held_out": 0}),
        ("vae.linear", {"zdim": 2, "box": 24, "contrast": "dark", "repair_poses": "off"}),
    ],
)
def test_other_methods_give_every_object_of_a_real_tilt_series_one_latent(
    kind: str, options: dict[str, Any], series: Path, tmp_path: Path
) -> None:
    run_map_job(kind, tmp_path / "out", {"particles": series}, options)
    run = read_run(tmp_path / "out", CPU)
    assert run.particles is not None
    assert run.particles.tilts is not None
    of = run.particles.tilts.particle
    assert all(np.ptp(run.latents[of == one], axis=0).max() < 1e-5 for one in range(6))
    assert np.ptp(run.latents, axis=0).max() > 1e-3


@pytest.mark.parametrize("kind", ["vae.train", "vae.linear"])
def test_halves_and_kept_out_particles_of_a_real_tilt_series_are_whole_objects(
    kind: str, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, half_of = [], reality.half_of

    def watched(count: int, half: int, object_of: torch.Tensor | None) -> torch.Tensor:
        found = half_of(count, half, object_of)
        assert object_of is not None
        seen.append(set(object_of[found].tolist()))
        return found

    monkeypatch.setattr(reality, "half_of", watched)
    options = {"zdim": 2, "box": 24, "contrast": "dark"}
    options |= {"repair_poses": "off"} if kind == "vae.linear" else {"epochs": 1, "held_out": 40}
    result, _ = run_map_job(kind, tmp_path / "out", {"particles": series}, options)
    assert (result["metrics"]["particles"], result["metrics"]["images"]) == (6, 219)
    assert [len(half) for half in seen] == [3, 3]
    assert not seen[0] & seen[1]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "6 particles (219 images)" in page
    if kind == "vae.train":
        assert re.search(r"1 particle \(\d+ images\) was kept out", page)


def test_a_real_tilt_series_is_backprojected_with_its_weights(series: Path, tmp_path: Path) -> None:
    """The dose changes the map, and a dose that is given counts in place of the table's."""
    made = []
    for name, more in (("plain", {"tilt_weights": False}), ("weighted", {}), ("given", {"dose_per_tilt": 30.0})):
        options = {"box": 32, "contrast": "dark", "half_maps": False, **more}
        run_map_job("particles.backproject", tmp_path / name, {"particles": series}, options)
        made.append(read_back(tmp_path / name / "backproject.mrc"))
    assert all(bool(torch.isfinite(one).all()) for one in made)
    alike = [float(torch.corrcoef(torch.stack([made[1].flatten(), one.flatten()]))[0, 1]) for one in made]
    assert alike[0] < 0.999
    assert alike[2] < 0.999


def test_a_training_makes_no_volume_in_one_long_step(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(*_: object) -> None:
        raise AssertionError("a volume without a rest")

    monkeypatch.setattr(CoordinateModel, "volumes", whole)
    run_map_job("vae.train", tmp_path / "out", {"particles": table}, OPTIONS)
    assert read_back(tmp_path / "out" / "consensus.mrc").std() > 0


def test_warnings_name_the_seeds_that_were_trained() -> None:
    assert [words.split(" tells ")[0] for words in seed_warnings([0.5, 0.9, 0.1], 0)] == ["Seed 1", "Seed 3"]
    assert [words.split(" tells ")[0] for words in seed_warnings([0.5], 7)] == ["Seed 8"]
