"""Files that cryoDRGN 4.3.1 made, see `data/README.md`: ours are the same, and its run opens to its own volumes."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import cast

import mrcfile
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.map_jobs import run_map_job
from support.simulated_particles import simulate

from cryobridge.bridge.worker.heterogeneity.images import PreparedImages, prepare_images
from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.core.latent import CoordinateModel, whole_disc
from cryobridge.schemas.particle_images import ImageOptions

DATA = Path(__file__).with_name("data")
BOX = 16
PEER_CC = 0.9442
"""Of its backprojection with the truth, inside the particle."""


def pixels(path: Path) -> NDArray[np.float32]:
    with mrcfile.open(path) as file:
        return np.asarray(file.data).astype(np.float32)


def unpickled(path: Path) -> tuple[NDArray[np.float32], ...]:
    """Arrays that follow each other in a pickle of ours, or of the data beside this file."""
    with open(path, "rb") as file:
        first = pickle.load(file)
        return first if isinstance(first, tuple) else (first,)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Its run, and beside it the files that its configuration names."""
    shutil.copytree(DATA, tmp_path / "data")
    return tmp_path / "data" / "run"


def test_downsampled_images_are_those_of_cryodrgn(tmp_path: Path) -> None:
    run_map_job("particles.downsample", tmp_path / "out", {"particles": DATA / "particles.mrcs"}, {"D": BOX})
    theirs, ours = pixels(DATA / "particles.16.mrcs"), pixels(tmp_path / "out" / "particles.mrcs")
    # Its half precision keeps 11 bits of each pixel.
    assert np.all(np.abs(ours - theirs) <= 2.0**-11 * np.abs(theirs) + 1e-6 * np.abs(theirs).max())


def test_poses_and_ctf_are_those_of_cryodrgn(tmp_path: Path) -> None:
    run_map_job("particles.parse", tmp_path / "out", {"particles": DATA / "particles.star"}, {"legacy": True, "ps": 0})
    for name in ("pose.pkl", "ctf.pkl"):
        for ours, theirs in zip(unpickled(tmp_path / "out" / name), unpickled(DATA / name), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=3e-7, atol=1e-6 / 32)


def test_the_map_is_at_least_as_good_as_that_of_cryodrgn(tmp_path: Path) -> None:
    inputs = {name: DATA / f"{file}" for name, file in (("poses", "pose.pkl"), ("ctf", "ctf.pkl"))}
    inputs["particles"] = DATA / "particles.16.mrcs"
    run_map_job("particles.backproject", tmp_path / "out", inputs, {"contrast": "bright"})
    true = simulate("twostate", 1, BOX, pixel_size_A=8.0)
    truth = 0.6 * true.volume(0.0) + 0.4 * true.volume(1.0)
    inside = truth > 0.05 * truth.max()
    ours = np.corrcoef(pixels(tmp_path / "out" / "backproject.mrc")[inside], truth[inside])[0, 1]
    assert ours > PEER_CC - 0.002


def test_a_run_of_cryodrgn_opens_to_its_own_volumes(run: Path) -> None:
    found = read_run(run, torch.device("cpu"))
    volumes = found.model.volumes(torch.from_numpy(np.loadtxt(DATA / "z.txt", dtype=np.float32)))
    theirs = [pixels(DATA / f"vol_{number}.mrc") for number in (1, 2)]
    assert np.linalg.norm(theirs[0] - theirs[1]) > 1e-3 * np.linalg.norm(theirs[0]), "the latent matters"
    for ours, volume in zip(volumes, theirs, strict=True):
        assert np.linalg.norm(ours.numpy() - volume) < 1e-3 * np.linalg.norm(volume)
    assert found.model.voxel_size_A == pytest.approx(8.0)
    assert found.particles is not None
    assert len(found.particles) == 24


def test_its_encoder_gives_its_own_latents(run: Path) -> None:
    """Of the images that it learned from, read and prepared by us, but for four pixels at Nyquist that we leave out."""
    found = read_run(run, torch.device("cpu"))
    assert found.particles is not None
    assert found.particles.shifts_A is not None
    assert isinstance(found.model, CoordinateModel)
    assert found.peer_contrast == "dark"
    # It moves images by 17 / 16 of their shifts in a box of 16: lattice for box.
    moved = replace(found.particles, shifts_A=found.particles.shifts_A * 17 / 16)
    radius = float(whole_disc(BOX).radii[-1])
    options = ImageOptions(contrast=found.peer_contrast)
    images = returned(prepare_images(moved, options, box=BOX, radius=radius, device=torch.device("cpu")))
    found.model.scale = images.noise / found.model.norm
    ours, log_variance = found.model.encode(images.spectra, images.ctf, images.rotations)
    spread = np.linalg.norm(found.latents - found.latents.mean(axis=0))
    assert np.linalg.norm(ours.numpy() - found.latents) < 0.05 * spread
    assert found.log_variances is not None
    assert np.abs(log_variance.numpy() - found.log_variances).max() < 0.03


def test_encode_finds_the_latents_of_its_run(run: Path, tmp_path: Path) -> None:
    """With shifts as they are, which it does not take them for; nothing is told of contrast and scale."""
    inputs = {"run": run, "particles": run.parent / "particles.16.mrcs"}
    inputs |= {"poses": run.parent / "pose.pkl", "ctf": run.parent / "ctf.pkl"}
    run_map_job("vae.encode", tmp_path / "out", inputs, {})
    found = read_run(run, torch.device("cpu")).latents
    with np.load(tmp_path / "out" / "latents.npz") as stored:
        ours = stored["z"]
    assert np.linalg.norm(ours - found) < 0.11 * np.linalg.norm(found - found.mean(axis=0))


def returned(steps: Generator[object, None, PreparedImages]) -> PreparedImages:
    """What steps return at their end."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return cast(PreparedImages, done.value)
