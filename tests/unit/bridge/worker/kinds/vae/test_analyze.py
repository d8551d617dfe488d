"""`vae.analyze` finds what was put into a run's latents, makes the volumes of its model, and loses nothing."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from support.map_jobs import read_back, run_map_job
from support.moving_run import BOX, VOXEL_A, MovingModel, made_up_series, made_up_set, write_moving_run

from cryobridge.bridge.worker.heterogeneity.finishing import Finishing
from cryobridge.bridge.worker.heterogeneity.objects import Objects
from cryobridge.bridge.worker.heterogeneity.series import SeriesLook
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.vae.analyze import findings, job
from cryobridge.bridge.worker.kinds.vae.analyze import page as analyze_page
from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow

COUNT = 240
RANDOM = np.random.default_rng(2)
PLACES = np.array([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
STATE = np.repeat([0, 1, 2], COUNT // 3)
LATENTS = PLACES[STATE] + RANDOM.normal(size=(COUNT, 2)) * [0.1, 0.3]
EPOCHS = {1: RANDOM.normal(size=LATENTS.shape), 2: LATENTS + 0.01, 3: LATENTS}
OPTIONS = {"clusters": 3, "per_component": 4, "notebook": True}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    where = tmp_path_factory.mktemp("analyze")
    variances = np.full(LATENTS.shape, -4.0, np.float32)
    run = write_moving_run(where / "run", LATENTS, log_variances=variances, epochs=EPOCHS)
    result, _ = run_map_job("vae.analyze", where / "out", {"run": run}, OPTIONS)
    return result, where / "out"


def test_the_states_are_the_clusters(done: tuple[dict[str, Any], Path]) -> None:
    result, out = done
    with np.load(out / "analysis.npz") as found:
        blocks = found["cluster"].reshape(3, -1)
        assert (blocks == blocks[:, :1]).all()
        assert abs(blocks[0, 0] - blocks[2, 0]) == 2
        np.testing.assert_allclose(found["z"], LATENTS, rtol=1e-6)
        assert abs(np.corrcoef(found["pc"][:, 0], LATENTS[:, 0])[0, 1]) > 0.999
    table = rows(out / "clusters.csv")
    assert [int(row["particles"]) for row in table] == [80, 80, 80]
    assert len(rows(out / "particles.csv")) == COUNT
    assert result["metrics"]["clusters"] == 3


def test_images_of_a_tilt_series_are_one_particle_and_have_a_row_each(
    done: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """Epoch 1 had other latents for images of one object: there they are particles."""
    epochs = {1: RANDOM.normal(size=(5 * COUNT, 2)), 2: np.tile(LATENTS + 0.01, (5, 1)), 3: np.tile(LATENTS, (5, 1))}
    run = write_moving_run(
        tmp_path / "run",
        np.tile(LATENTS, (5, 1)),
        particles=made_up_series(COUNT, 5),
        log_variances=np.full((5 * COUNT, 2), -4.0, np.float32),
        epochs=epochs,
    )
    result, _ = run_map_job("vae.analyze", tmp_path / "out", {"run": run}, OPTIONS)
    out = tmp_path / "out"
    with np.load(done[1] / "analysis.npz") as one, np.load(out / "analysis.npz") as found:
        for name in ("z", "pc", "cluster", "density", "volume_pc"):
            np.testing.assert_allclose(found[name], np.tile(one[name].T, 5).T, rtol=1e-5, atol=1e-5, err_msg=name)
        assert (found["cluster_centre"] == one["cluster_centre"]).all()
    for name in ("clusters.csv", "components.csv", "z_pc1.txt"):
        assert (out / name).read_text() == (done[1] / name).read_text(), name
    assert rows(out / "epochs.csv")[1] == rows(done[1] / "epochs.csv")[1]
    assert len(rows(out / "particles.csv")) == 5 * COUNT
    assert (result["metrics"]["particles"], result["metrics"]["images"]) == (COUNT, 5 * COUNT)
    assert "images" not in done[0]["metrics"]
    assert f"{COUNT} particles ({5 * COUNT} images) in 3 clusters" in (out / "report.html").read_text()
    options = {"epoch": 1, "clusters": 2, "skip_volumes": True}
    result, _ = run_map_job("vae.analyze", tmp_path / "first", {"run": run}, options)
    assert result["metrics"]["particles"] == 5 * COUNT


def test_volumes_are_those_of_the_model_at_the_centres(done: tuple[dict[str, Any], Path]) -> None:
    _, out = done
    for number, row in enumerate(rows(out / "clusters.csv")):
        z = torch.tensor([[float(row["z1"]), float(row["z2"])]])
        expected = MovingModel(2).volumes(z)[0].double()
        torch.testing.assert_close(read_back(out / f"kmeans_{number:03d}.mrc"), expected)
    assert np.loadtxt(out / "z_kmeans.txt").shape == (3, 2)


def test_series_run_along_components_between_percentiles(done: tuple[dict[str, Any], Path]) -> None:
    _, out = done
    z = np.loadtxt(out / "z_pc1.txt")
    low, high = np.percentile(LATENTS[:, 0], [5, 95])
    assert sorted([z[0, 0], z[-1, 0]]) == pytest.approx([low, high], abs=0.1)
    assert sorted(path.name for path in out.glob("pc2_*.mrc")) == [f"pc2_{number:03d}.mrc" for number in range(4)]
    assert '"pc1_003.mrc"' in (out / "pc1.cxc").read_text()


def test_components_of_volumes_are_ordered_by_what_changes_the_volumes(tmp_path: Path) -> None:
    """The second number of the latent varies most and says little of the volumes."""
    latents = np.column_stack([RANDOM.uniform(-0.7, 0.7, COUNT), RANDOM.normal(size=COUNT)])
    run = write_moving_run(tmp_path / "run", latents)
    result, _ = run_map_job("vae.analyze", tmp_path / "out", {"run": run}, {"clusters": 12, "per_component": 6})
    with np.load(tmp_path / "out" / "analysis.npz") as found:
        assert abs(np.corrcoef(found["pc"][:, 0], latents[:, 1])[0, 1]) > 0.9
        assert abs(np.corrcoef(found["volume_pc"][:, 0], latents[:, 0])[0, 1]) > 0.9
    assert result["metrics"]["components_agree"] < 0.5
    assert "is not the largest change of the volumes" in (tmp_path / "out" / "report.html").read_text()


def test_convergence_is_told_by_epoch(done: tuple[dict[str, Any], Path]) -> None:
    table = rows(done[1] / "epochs.csv")
    assert [(row["first"], row["second"]) for row in table] == [("1", "2"), ("2", "3")]
    assert float(table[0]["shared_neighbours"]) < 0.3
    assert float(table[1]["shared_neighbours"]) > 0.95


def test_the_page_shows_it(done: tuple[dict[str, Any], Path]) -> None:
    page = (done[1] / "report.html").read_text()
    for words in (
        "Components: clusters",
        "Volumes at the clusters&#x27; centres",
        "FSC of neighbouring volumes",
        "Information by number of the latent",
        "Learning curve",
        "Convergence",
        "Kinman et al. 2023",
        "not a reconstruction",
    ):
        assert words in page, words
    assert "could not be drawn" not in page


def test_the_notebook_runs_with_numpy_and_matplotlib(
    done: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = done
    mpl.use("Agg")
    monkeypatch.chdir(out)
    names: dict[str, Any] = {}
    for cell in json.loads((out / "analysis.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["indices"]) == COUNT
    volume, voxel_A = names["read_map"]("kmeans_000.mrc")
    assert volume.shape == (BOX,) * 3
    assert voxel_A == pytest.approx(VOXEL_A)
    np.testing.assert_array_equal(volume, read_back(out / "kmeans_000.mrc").numpy())
    os.remove("selected.npz")


def test_a_latent_that_goes_with_defocus_is_warned_of(tmp_path: Path) -> None:
    particles = made_up_set(COUNT, defocus_A=15000 + 2000 * LATENTS[:, 0])
    run = write_moving_run(tmp_path / "run", LATENTS, particles=particles)
    result, _ = run_map_job("vae.analyze", tmp_path / "out", {"run": run}, {"clusters": 3, "skip_vol": True})
    assert any("goes with defocus" in line for line in result["statements"])
    assert not list((tmp_path / "out").glob("*.mrc"))


def test_a_latent_of_one_number_has_a_histogram_and_volumes_at_percentiles(tmp_path: Path) -> None:
    latents = RANDOM.exponential(size=(60, 1))
    run = write_moving_run(tmp_path / "run", latents)
    options = {"clusters": 4, "per_component": 5, "box": 8, "flip": True, "first_number": 1}
    run_map_job("vae.analyze", tmp_path / "out", {"run": run}, options)
    z = np.loadtxt(tmp_path / "out" / "z_pc1.txt")
    np.testing.assert_allclose(z, np.percentile(latents, np.linspace(5, 95, 5)), rtol=1e-6)
    assert read_back(tmp_path / "out" / "pc1_001.mrc").shape == (8, 8, 8)
    assert "How many particles have which latent" in (tmp_path / "out" / "report.html").read_text()


def test_information_is_against_the_prior_of_each_number() -> None:
    """Latents that are as the prior says hold none, whatever its variance."""
    prior = np.array([1.0, 0.25, 4.0])
    objects = Objects(np.arange(8), np.arange(8))
    latents, logarithms = np.zeros((8, 3), np.float32), np.tile(np.log(prior), (8, 1)).astype(np.float32)
    found = findings.kl_by_dimension(latents, logarithms, objects, prior)
    assert found is not None
    np.testing.assert_allclose(found, 0, atol=1e-6)
    moved = findings.kl_by_dimension(latents + 1, logarithms, objects, prior)
    assert moved is not None
    np.testing.assert_allclose(moved, 1 / (2 * prior), rtol=1e-5)


def test_clusters_are_counted_from_0_and_volumes_from_their_first_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles, strip = [], SeriesLook.strip

    def noted(look: SeriesLook, named: list[str], finishing: Finishing) -> bytes:
        titles.append([title.split(":")[0] for title in named])
        return strip(look, named, finishing)

    monkeypatch.setattr(SeriesLook, "strip", noted)
    run = write_moving_run(tmp_path / "run", LATENTS)
    options = {"clusters": 3, "components": 1, "per_component": 3, "first_number": 5}
    run_map_job("vae.analyze", tmp_path / "out", {"run": run}, options)
    assert titles == [["0", "1", "2"], ["5", "6", "7"]]
    assert [row["cluster"] for row in rows(tmp_path / "out" / "clusters.csv")] == titles[0]


def test_without_volumes_the_page_speaks_of_none(tmp_path: Path) -> None:
    run = write_moving_run(tmp_path / "run", LATENTS)
    run_map_job("vae.analyze", tmp_path / "out", {"run": run}, {"clusters": 3, "skip_volumes": True})
    page = (tmp_path / "out" / "report.html").read_text()
    assert "none were asked for" in page
    assert not [said for said in ("the volumes", "Volumes were made", "a voxel") if said in page]


def test_a_figure_that_fails_costs_a_remark_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(analyze_page.figures, "latent_map", broken)
    run = write_moving_run(tmp_path / "run", LATENTS)
    result, _ = run_map_job("vae.analyze", tmp_path / "out", {"run": run}, {"clusters": 3, "skip_volumes": True})
    assert any("could not be drawn (no fonts)" in line for line in result["statements"])
    assert (tmp_path / "out" / "analysis.npz").is_file()


def test_an_epoch_can_be_chosen(tmp_path: Path) -> None:
    run = write_moving_run(tmp_path / "run", LATENTS, epochs=EPOCHS)
    options = {"clusters": 3, "skip_volumes": True, "epoch": 1}
    run_map_job("vae.analyze", tmp_path / "out", {"run": run}, options)
    with np.load(tmp_path / "out" / "analysis.npz") as found:
        np.testing.assert_allclose(found["z"], EPOCHS[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("latents", "options", "said"),
    [
        (np.zeros((5, 0)), {}, "its model has no latent"),
        (np.zeros((2, 2)), {}, "has 2 particles, too few"),
        (LATENTS, {"epoch": 7}, r"latents of epoch 7 were not kept \(kept: none\)"),
        (LATENTS, {"box": 32}, "box 32: volumes of .* have a box of 16"),
        (LATENTS, {"low_pass": 1.0}, "low_pass_A"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, latents: np.ndarray, options: dict[str, Any], said: str
) -> None:
    run = write_moving_run(tmp_path / "run", latents)
    with pytest.raises(InputInvalid, match=said):
        run_map_job("vae.analyze", tmp_path / "out", {"run": run}, options)
    assert not (tmp_path / "out").exists()


def test_umap_comes_last_and_says_where_everybody_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout itself is a test of `core/landscape`; here another stands for it, as compiling UMAP takes long."""
    written: list[bool] = []

    def layout(latents: np.ndarray, seed: int) -> np.ndarray:
        written.append((tmp_path / "out" / "analysis.npz").is_file())
        return np.stack([latents[:, 1], seed - latents[:, 0]], axis=1)

    monkeypatch.setattr(job, "umap_of", layout)
    run = write_moving_run(tmp_path / "run", LATENTS)
    options = {"clusters": 3, "skip_volumes": True, "umap": True}
    run_map_job("vae.analyze", tmp_path / "out", {"run": run}, options)
    with np.load(tmp_path / "out" / "analysis.npz") as found:
        np.testing.assert_allclose(found["umap"], np.stack([LATENTS[:, 1], -LATENTS[:, 0]], axis=1), rtol=1e-6)
    assert written == [True], "what takes long costs nobody the rest"
    assert "UMAP: clusters" in (tmp_path / "out" / "report.html").read_text()


def test_calls_of_relion_are_let_in_during_what_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the long calls goes on only when the worker has come to a step after it began."""
    stepped, met = Event(), []

    def waiting(name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
        def wait(*given: Any) -> Any:
            stepped.clear()
            met.append((name, stepped.wait(5)))
            return whole(*given)

        return wait

    for name in ("k_means", "log_density", "agreement", "volume_space", "mapped"):
        monkeypatch.setattr(findings, name, waiting(name, getattr(findings, name)))
    monkeypatch.setattr(job, "umap_of", waiting("umap_of", lambda latents, _: latents[:, :2]))
    monkeypatch.setattr(job.importlib.util, "find_spec", lambda _: True)
    run = write_moving_run(tmp_path / "run", LATENTS, epochs=EPOCHS)
    spec = {"inputs": {"run": str(run)}, "output": str(tmp_path / "out"), "options": {**OPTIONS, "umap": True}}
    for _ in run_job({"schema": "cryobridge/job/1", "kind": "vae.analyze", **spec}, torch.device("cpu")):
        stepped.set()
    assert {name for name, _ in met} == {"k_means", "log_density", "agreement", "volume_space", "mapped", "umap_of"}
    assert [name for name, let_in in met if not let_in] == []
