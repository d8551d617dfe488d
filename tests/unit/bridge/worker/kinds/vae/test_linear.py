"""`vae.linear` as the job runner does it: modes that are there are found, and where there are none it says so."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from support.map_jobs import run_map_job
from support.simulated_particles import SimulatedParticles, euler_matrices, simulate

from cryobridge.bridge.worker.heterogeneity.run_folder import LatentRun, read_run
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.array_file import read_arrays
from cryobridge.wrappers.particles.given_tables import selected_rows
from cryobridge.wrappers.particles.reading import read_particles

KIND = "vae.linear"
BOX = 24
OPTIONS = {"resolution_A": 18.0, "contrast": "bright"}


@dataclass(frozen=True)
class Done:
    """A finished job and what is known of its particles."""

    truth: SimulatedParticles
    folder: Path
    result: dict[str, Any]

    @property
    def run(self) -> LatentRun:
        """As later jobs open it."""
        return read_run(self.folder, torch.device("cpu"))

    @property
    def page(self) -> str:
        """The report's text."""
        return html.unescape((self.folder / "report.html").read_text())


def done(folder: Path, truth: SimulatedParticles, **options: Any) -> Done:
    """Write the particles and run the job."""
    table = truth.write(folder / "in")
    result, _ = run_map_job(KIND, folder / "out", {"particles": table}, OPTIONS | options)
    return Done(truth, folder / "out", result)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Particles with an arm that moves."""
    return done(tmp_path_factory.mktemp("moving"), simulate("conf1d", 500, BOX, snr=0.3))


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Particles that are all alike."""
    return done(tmp_path_factory.mktemp("still"), simulate("homogeneous", 300, BOX, snr=0.1))


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A quarter of the images show no particle."""
    truth = simulate("homogeneous", 300, BOX, snr=0.5, junk_share=0.25)
    return done(tmp_path_factory.mktemp("dirty"), truth, modes=2)


def test_the_first_latent_is_the_motion(moving: Done):
    assert abs(spearmanr(moving.run.latents[:, 0], moving.truth.coordinate)[0]) > 0.85


def test_what_is_kept_is_above_noise_and_said_to_be(moving: Done):
    metrics = moving.result["metrics"]
    assert metrics["eigenvalue_over_null"] > 1.5
    assert metrics["modes"] == metrics["modes_above_noise"] == moving.run.latents.shape[1]
    assert "above noise" in moving.page


def test_volumes_at_the_ends_of_the_latent_are_those_of_the_ends_of_the_motion(moving: Done):
    z, coordinate = moving.run.latents, moving.truth.coordinate
    ends = [torch.from_numpy(z[members].mean(axis=0)) for members in (coordinate < 0.2, coordinate > 0.8)]
    low, high = moving.run.model.volumes(torch.stack(ends))
    truth = torch.from_numpy(moving.truth.volume(0.9) - moving.truth.volume(0.1))
    found = torch.corrcoef(torch.stack([(high - low).flatten(), truth.flatten()]))[0, 1]
    assert found > 0.8


def test_a_mode_and_the_images_near_its_ends_agree(moving: Done):
    assert moving.result["metrics"]["local_agreement"] > 0.7


def test_maps_are_those_of_the_model(moving: Done):
    model = moving.run.model
    consensus, header = mrc.read(moving.folder / "consensus.mrc")
    assert header.voxel_size_A[0] == pytest.approx(6.0, rel=1e-5)
    assert np.allclose(consensus, model.volumes(torch.zeros(1, model.zdim))[0].numpy(), atol=1e-5)
    assert len(list(moving.folder.glob("mode_*.mrc"))) == model.zdim


def test_where_nothing_is_it_says_so(still: Done):
    assert still.result["metrics"]["modes_above_noise"] == 0
    assert still.result["metrics"]["eigenvalue_over_null"] < 1.5
    assert "nothing found" in still.page
    assert any("Nothing found" in line for line in still.result["statements"])


def test_junk_is_listed_as_a_selection(dirty: Done):
    rows = selected_rows(dirty.folder / "junk.npz", len(dirty.truth), "particles")
    wrong = np.setxor1d(rows, np.flatnonzero(dirty.truth.junk))
    assert len(wrong) <= 3
    assert len(read_arrays(dirty.folder / "agreement.npz")["correlation"]) == len(dirty.truth)
    assert "junk.npz" in dirty.page


def test_as_many_modes_are_kept_as_were_asked_for(dirty: Done):
    assert dirty.run.latents.shape == (300, 2)


def test_what_modes_cannot_reach_is_refused_before_anything_is_written(tmp_path: Path):
    truth = simulate("homogeneous", 20, BOX)
    with pytest.raises(InputInvalid, match="out of reach of a box of 24; give"):
        done(tmp_path, truth, resolution_A=4.0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("box", [8, 10])
def test_modes_of_small_boxes_reach_no_farther_than_these(tmp_path: Path, box: int):
    """With poses repaired, which reaches far too."""
    table = simulate("twostate", 60, box).write(tmp_path)
    options = {"contrast": "bright", "repair_poses": "on", "modes": 1, "iterations": 1}
    run_map_job("vae.linear", tmp_path / "out", {"particles": table}, options)
    assert mrc.read(tmp_path / "out/mode_01.mrc")[0].shape == (box, box, box)


def test_a_box_that_holds_no_modes_is_refused(tmp_path: Path):
    with pytest.raises(InputInvalid, match="a box of 6 is too small"):
        done(tmp_path, simulate("homogeneous", 20, 6))


def test_too_few_images_are_refused(tmp_path: Path):
    with pytest.raises(InputInvalid, match="5 images show no heterogeneity; give at least 16"):
        done(tmp_path, simulate("homogeneous", 5, BOX))


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Particles that are all alike, with wrong poses that are to be repaired if they are found to be wrong."""
    truth = simulate("homogeneous", 600, BOX, snr=1.0, pose_error_deg=5.0)
    return done(tmp_path_factory.mktemp("turned"), truth, modes=2, iterations=4, repair_poses="on_warning")


def error_deg(rotations: np.ndarray, truth: SimulatedParticles) -> float:
    cosine = (np.einsum("nij,nij->n", rotations, euler_matrices(truth.angles_deg)) - 1) / 2
    return float(np.degrees(np.arccos(cosine.clip(-1, 1))).mean())


def test_wrong_poses_are_repaired_and_the_better_ones_written(turned: Done):
    repaired = turned.run.particles
    assert repaired is not None
    assert repaired.rotations is not None
    assert error_deg(repaired.rotations, turned.truth) < 0.7 * error_deg(
        euler_matrices(turned.truth.recorded_deg), turned.truth
    )
    given = read_particles(turned.folder.parent / "in" / "particles.star", poses=turned.folder / "poses.npz")
    assert given.rotations == pytest.approx(repaired.rotations)
    assert given.shifts_A == pytest.approx(repaired.shifts_A)
    assert "Poses were repaired" in turned.page


def test_very_many_particles_are_fitted_on_some_and_scored_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cryobridge.bridge.worker.heterogeneity.fitted_images.FITTED_IMAGES", 200)
    found = done(
        tmp_path, simulate("twostate", 400, 16, pixel_size_A=8.0, snr=0.5), resolution_A=24.0, repair_poses="on_warning"
    )
    # Poses that nobody doubts are left alone.
    assert found.result["metrics"]["poses_doubted"] is False
    assert not (found.folder / "poses.npz").exists()
    assert found.result["metrics"]["fitted_on"] == 200
    z, state = found.run.latents[:, 0], found.truth.coordinate > 0.5
    outside = np.setdiff1d(np.arange(400), read_arrays(found.folder / "agreement.npz")["member"])
    assert len(outside) == 200
    pairs = z[outside][state[outside]][:, None] > z[outside][~state[outside]]
    assert abs(pairs.mean() - 0.5) > 0.4
