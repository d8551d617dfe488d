"""`vae.landscape` finds the states that a model has, weighs their maps by particles, and places every particle."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from threading import current_thread
from typing import Any

import numpy as np
import pytest
import torch
from support.map_jobs import read_back, run_map_job, write_maps
from support.moving_run import BOX, VOXEL_A, MovingModel, made_up_series, write_moving_run

from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.vae.landscape import again, job
from cryobridge.core.landscape import clusters
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job

pytestmark = pytest.mark.slow

SIZES = (30, 60, 150)
STATE = np.repeat([2, 1, 0], SIZES)
RANDOM = np.random.default_rng(4)
LATENTS = np.repeat([[-1.5, 0.0], [0.3, 0.0], [1.5, 0.0]], SIZES, axis=0) + RANDOM.normal(size=(240, 2)) * [0.05, 0.2]
OPTIONS = {"volumes": 60, "states": 3, "components": 4}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    where = tmp_path_factory.mktemp("landscape")
    run = write_moving_run(where / "run", LATENTS)
    result, _ = run_map_job("vae.landscape", where / "out", {"run": run}, OPTIONS)
    return result, where / "out"


def test_the_states_are_those_of_the_model_the_largest_first(done: tuple[dict[str, Any], Path]) -> None:
    result, out = done
    with np.load(out / "states.npz") as found:
        assert (found["state"] == STATE).all()
        assert abs(np.corrcoef(found["volume_pc"][:, 0], LATENTS[:, 0])[0, 1]) > 0.95
    assert result["metrics"]["particles"] == [150, 60, 30]
    with np.load(out / "state_02_indices.npz") as found:
        assert found["indices"].tolist() == list(range(30))


def test_states_of_tilt_series_count_particles_and_list_their_images(
    done: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    run = write_moving_run(tmp_path / "run", np.tile(LATENTS, (3, 1)), particles=made_up_series(240, 3))
    result, _ = run_map_job("vae.landscape", tmp_path / "out", {"run": run}, OPTIONS)
    assert result["metrics"]["particles"] == [150, 60, 30]
    assert result["metrics"]["images"] == 720
    with np.load(tmp_path / "out" / "states.npz") as found:
        assert (found["state"] == np.tile(STATE, 3)).all()
    with np.load(tmp_path / "out" / "state_02_indices.npz") as found:
        assert found["indices"].tolist() == [*range(30), *range(240, 270), *range(480, 510)]
    assert (tmp_path / "out" / "volumes.csv").read_text() == (done[1] / "volumes.csv").read_text()


def test_maps_of_a_state_are_mean_and_spread_weighted_by_particles(done: tuple[dict[str, Any], Path]) -> None:
    _, out = done
    with open(out / "volumes.csv", newline="") as file:
        table = [row for row in csv.DictReader(file) if row["state"] == "1"]
    weights = torch.tensor([float(row["particles"]) for row in table])
    z = torch.from_numpy(LATENTS[[int(row["centre"]) for row in table]]).float()
    volumes = MovingModel(2).volumes(z).double().repeat_interleave(weights.long(), 0)
    torch.testing.assert_close(read_back(out / "state_01_mean.mrc"), volumes.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(read_back(out / "state_01_std.mrc"), volumes.std(0, correction=0), atol=1e-3, rtol=0)


def test_components_and_mask_are_written(done: tuple[dict[str, Any], Path]) -> None:
    result, out = done
    mask = read_back(out / "mask.mrc")
    assert 0 < mask.mean() < 0.5
    assert mask.sum() == result["metrics"]["voxels"]
    component = read_back(out / "component_01.mrc")
    assert component[mask == 0].abs().max() == 0
    # The arm moves in y at x = 5: there one end of the component is positive and the other negative.
    line = component[BOX // 2, :, BOX // 2 + 5]
    assert line.min() < -0.1 < 0.1 < line.max()
    assert result["metrics"]["held_out_r2"][0] > 0.9
    page = (out / "report.html").read_text()
    assert "Means of the states" in page
    assert "could not be drawn" not in page
    assert '"state_02_mean.mrc"' in (out / "states.cxc").read_text()


def test_a_mask_decides_what_is_compared(tmp_path: Path) -> None:
    """Only the body, which is the same in all."""
    inside = torch.zeros((BOX,) * 3)
    inside[5:12, 5:12, 5:9] = 1.0
    files = write_maps(tmp_path, VOXEL_A, mask=inside)
    run = write_moving_run(tmp_path / "run", LATENTS)
    options = {**OPTIONS, "volumes": 12, "keep_volumes": True, "invert": True}
    result, _ = run_map_job("vae.landscape", tmp_path / "out", {"run": run, "mask": files["mask"]}, options)
    assert result["metrics"]["voxels"] == int(inside.sum())
    volume = read_back(tmp_path / "out" / "kmeans_003.mrc")
    assert volume.min() < -0.9
    assert volume.max() < 0.1
    assert len(list((tmp_path / "out").glob("kmeans_*.mrc"))) == 12


def test_volumes_that_do_not_fit_are_decoded_again_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: tuple[dict[str, Any], Path]
) -> None:
    monkeypatch.setattr("cryobridge.bridge.worker.kinds.vae.landscape.again.MOST_KEPT_BYTES", 0)
    run = write_moving_run(tmp_path / "run", LATENTS)
    run_map_job("vae.landscape", tmp_path / "out", {"run": run}, OPTIONS)
    with np.load(tmp_path / "out" / "states.npz") as one, np.load(done[1] / "states.npz") as other:
        assert (one["state"] == other["state"]).all()


def test_what_it_keeps_in_memory_is_bounded() -> None:
    def host(count: int) -> int:
        spec = {
            "schema": "cryobridge/job/1",
            "kind": "vae.landscape",
            "inputs": {"run": "/run"},
            "output": "/out",
            "options": {"volumes": count},
        }
        return parse_job(spec, "test").memory(256, "cuda").host_bytes

    # A sixteenth of a float32 volume inside the mask, each: what is beyond 6 GB is decoded again.
    assert host(10_000) - host(2_000) < 8_000 * 256**3 * 4 / 4


def test_a_mask_of_another_box_is_one_sentence(tmp_path: Path) -> None:
    files = write_maps(tmp_path, VOXEL_A, mask=torch.ones((8,) * 3).index_fill(0, torch.tensor([0]), 0.0))
    run = write_moving_run(tmp_path / "run", LATENTS)
    with pytest.raises(InputInvalid, match=r"mask\.mrc.*box"):
        run_map_job("vae.landscape", tmp_path / "out", {"run": run, "mask": files["mask"]}, OPTIONS)
    assert not (tmp_path / "out").exists()


def test_clusters_that_batches_leave_empty_have_no_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_MINI_BATCH_ABOVE", 100)
    run = write_moving_run(tmp_path / "run", LATENTS)
    result, _ = run_map_job("vae.landscape", tmp_path / "out", {"run": run}, {**OPTIONS, "volumes": 200})
    count = result["metrics"]["volumes"]
    assert count == result["options"]["volumes"] < 200
    assert any(f"There are {count} volumes" in line for line in result["statements"])
    assert torch.isfinite(read_back(tmp_path / "out" / "state_00_mean.mrc")).all()
    assert sum(result["metrics"]["particles"]) == len(LATENTS)


def test_calls_of_relion_are_let_in_during_what_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = {}
    for name in ("k_means", "volume_space", "mapped"):
        whole = getattr(job, name)
        monkeypatch.setattr(
            job,
            name,
            lambda *given, name=name, whole=whole: (threads.update({name: current_thread()}), whole(*given))[1],
        )
    run = write_moving_run(tmp_path / "run", LATENTS)
    run_map_job("vae.landscape", tmp_path / "out", {"run": run}, {**OPTIONS, "volumes": 12})
    assert len(threads) == 3
    assert current_thread() not in threads.values()


def test_calls_are_let_in_while_a_volume_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volumes are gone through three times, each with a rest before every volume that the steps hand on."""
    whole = again.decoded

    def resting(*given: Any) -> Iterator[torch.Tensor | None]:
        for volume in whole(*given):
            yield None
            yield volume

    def rests(where: Path) -> int:
        spec = {"inputs": {"run": str(run)}, "output": str(where), "options": {**OPTIONS, "volumes": 12}}
        job_spec = {"schema": "cryobridge/job/1", "kind": "vae.landscape", **spec}
        monkeypatch.setattr(job, "beside", called)
        return sum(step is None for step in run_job(job_spec, torch.device("cpu")))

    def called(work: Callable[[], Any]) -> Generator[None, None, Any]:
        return work()
        yield

    monkeypatch.setattr(again, "MOST_KEPT_BYTES", 0)
    run = write_moving_run(tmp_path / "run", LATENTS)
    assert rests(tmp_path / "one") == 0
    monkeypatch.setattr(again, "decoded", resting)
    assert rests(tmp_path / "other") == 3 * 12
