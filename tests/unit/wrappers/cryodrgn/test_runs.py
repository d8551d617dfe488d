"""Runs of cryoDRGN: written by us and read back, and what is said of those that cannot be opened."""

from __future__ import annotations

import pickle
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.simulated_particles import simulate

from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.core.latent import CoordinateModel, whole_disc
from cryobridge.core.latent.published import NetworkShape, PublishedNetwork
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryodrgn import peer_config, peer_latents, peer_weights, read_peer_run
from cryobridge.wrappers.cryodrgn.lattice import columns_for, lattice_points, to_disc, to_lattice
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.pickled_arrays import pickled
from cryobridge.wrappers.particles.legacy_tables import legacy_ctf, legacy_poses

CPU = torch.device("cpu")
BOX, COUNT = 16, 12
SHAPE = NetworkShape(BOX, 2, "resid", 2, 8, BOX / 2, 2, 12, "gaussian", BOX // 2, 0.5, "fourier", "relu")
SHAPES = {
    "gaussian": SHAPE,
    "geom_ft": replace(SHAPE, encoding="geom_ft", encoder="mlp"),
    "geom_full": replace(SHAPE, encoding="geom_full", activation="leaky_relu"),
    "geom_lowf": replace(SHAPE, encoding="geom_lowf", encoding_count=5),
    "geom_nohighf": replace(SHAPE, encoding="geom_nohighf", zdim=5),
    "linear_lowf": replace(SHAPE, encoding="linear_lowf", encoder_radius=5.0),
    "without": replace(SHAPE, encoding="none", domain="hartley"),
    "one": replace(SHAPE, zdim=0, encoder="none"),
}


def write(folder: Path, shape: NetworkShape, epochs: tuple[int, ...] = (1, 2)) -> CoordinateModel:
    """A run in cryoDRGN's layout, as we write it; every epoch has the same weights and other latents."""
    particles = simulate("twostate", COUNT, BOX)
    table = particles.write(folder)
    found = particles.particle_set(table)
    torch.manual_seed(1)
    network = PublishedNetwork(shape, whole_disc(shape.box), torch.Generator().manual_seed(2))
    model = CoordinateModel(network, 6.0, norm=4.0, corners=shape.domain == "hartley")
    (folder / "pose.pkl").write_bytes(legacy_poses(found))
    (folder / "ctf.pkl").write_bytes(legacy_ctf(found))
    files = {"particles": folder / "particles.mrcs", "poses": folder / "pose.pkl", "ctf": folder / "ctf.pkl"}
    (folder / "config.yaml").write_text(peer_config(model, found, files, window_radius=0.85, seed=3))
    for epoch in epochs:
        (folder / f"weights.{epoch}.pkl").write_bytes(peer_weights(model, epoch))
        if shape.zdim:
            (folder / f"z.{epoch}.pkl").write_bytes(peer_latents(latents(shape, epoch), None))
    return model


def latents(shape: NetworkShape, epoch: int) -> np.ndarray:
    return np.random.default_rng(epoch).normal(size=(COUNT, shape.zdim)).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write(tmp_path / "run", SHAPE)
    return tmp_path / "run"


def change(folder: Path, **sections: dict[str, Any]) -> None:
    """Change settings of a run."""
    path = folder / "config.yaml"
    found = yaml.safe_load(path.read_text())
    for name, values in sections.items():
        found[name] = {**found[name], **values} if isinstance(found[name], dict) else values
    path.write_text(yaml.safe_dump(found))


@pytest.mark.parametrize("name", SHAPES)
def test_a_run_is_what_it_was_written_from(tmp_path: Path, name: str):
    """Volumes, latents and particles, for every encoding, both domains, and without a latent."""
    shape = SHAPES[name]
    model = write(tmp_path / "run", shape)
    found = read_run(tmp_path / "run", CPU)
    z = torch.randn(2, shape.zdim)
    assert torch.allclose(found.model.volumes(z), model.volumes(z), atol=1e-5)
    assert found.model.voxel_size_A == pytest.approx(6.0)
    assert found.particles is not None
    assert len(found.particles) == len(found.latents) == COUNT
    if shape.zdim:
        assert np.array_equal(found.latents, latents(shape, 2))
        assert sorted(found.epochs) == [1, 2]
        spectra = torch.randn(3, len(whole_disc(BOX)), dtype=torch.complex64)
        ctf, turned = torch.ones(3, spectra.shape[1]), torch.eye(3).expand(3, 3, 3)
        model.scale = found.model.scale  # type: ignore[attr-defined]
        ours, theirs = (one.encode(spectra, ctf, turned) for one in (model, found.model))  # type: ignore[attr-defined]
        assert torch.allclose(ours[0], theirs[0], atol=1e-5)


def test_an_epoch_is_named_as_the_run_names_it(run: Path):
    """Its own latents are read, the base is said, and one that is not there is refused."""
    found = read_run(run, CPU, 1)
    assert np.array_equal(found.latents, latents(SHAPE, 1))
    assert np.array_equal(found.latents_of_epoch(2), latents(SHAPE, 2))
    assert "count from 1" in found.remarks[0]
    with pytest.raises(InputInvalid, match=r"no weights\.7\.pkl; its epochs count from 1, and there are 1, 2"):
        read_run(run, CPU, 7)


@pytest.mark.parametrize(("version", "base"), [("4.3.1", 1), ("3.5.0", 1), ("3.4.3", 0), ("0.2.1b", 0), (None, 0)])
def test_the_base_of_epochs_follows_from_the_version(run: Path, version: str | None, base: int):
    """They count from 0 up to 3.4."""
    path = run / "config.yaml"
    found = yaml.safe_load(path.read_text())
    found.pop("version")
    path.write_text(yaml.safe_dump(found | ({} if version is None else {"version": version})))
    assert read_peer_run(run, CPU).counts_from == base


def test_a_pickled_configuration_is_read_too(run: Path):
    """As versions before 2.3 left it, with fewer settings."""
    found = yaml.safe_load((run / "config.yaml").read_text())
    for name in ("feat_sigma", "pe_dim", "activation", "tilt_params"):
        found["model_args"].pop(name)
    del found["version"]
    (run / "config.pkl").write_bytes(pickled(found))
    expected = read_run(run, CPU)
    (run / "config.yaml").unlink()
    z = torch.zeros(1, 2)
    assert torch.equal(read_run(run, CPU).model.volumes(z), expected.model.volumes(z))


def test_a_run_whose_particles_are_gone_still_decodes(run: Path):
    """Only what needs the particles does not work, and that is said."""
    change(run, dataset_args={"particles": "/nowhere/gone.mrcs"})
    found = read_run(run, CPU)
    assert found.particles is None
    assert "not used: /nowhere/gone.mrcs is not found" in found.remarks[-1]
    assert found.model.voxel_size_A == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"ntilts": 10}, "they are tilt series"),
        ({"ind": "/nowhere/ind.pkl"}, r"their selection /nowhere/ind\.pkl is not found"),
        ({"ind": "some.pkl"}, r"particles\.mrcs has 3 images by now, and there are latents of 12\.$"),
        ({"ctf": "some.pkl"}, r"some\.pkl: .*CTF parameters.*[^.]\.$"),
    ],
)
def test_why_particles_are_not_used_is_said(run: Path, settings: dict[str, Any], why: str):
    """They are where they were, so that is not what is said of them."""
    (run / "some.pkl").write_bytes(pickled(np.array([2, 4, 5])))
    change(run, dataset_args=settings)
    found = read_run(run, CPU)
    assert found.particles is None
    assert "not used" in found.remarks[-1]
    assert re.search(why, found.remarks[-1]), found.remarks[-1]


def test_an_encoder_of_another_sort_is_left_out(run: Path):
    """Volumes are decoded all the same."""
    change(run, model_args={"encode_mode": "tilt"})
    found = read_run(run, CPU)
    assert not found.model.encodes  # type: ignore[attr-defined]
    assert found.model.volumes(torch.zeros(1, 2)).isfinite().all()


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("model_args", {"pe_type": "unheard of"}, "not known here"),
        ("model_args", {"zdim": 9}, "its model takes 9"),
        ("model_args", {"domain": "hartley"}, "do not fit"),
        ("lattice_args", {"D": 16}, "not known here"),
        ("lattice_args", {"D": 23}, "do not fit|does not fit"),
        ("dataset_args", {"norm": None}, "not known here"),
        ("dataset_args", {"norm": [0, -1.0]}, "not known here"),
        ("model_args", "none", "no dataset_args"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(run: Path, section: str, values: Any, said: str):
    """Which names the file."""
    if isinstance(values, dict):
        change(run, **{section: values})
    else:
        found = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**found, section: values}))
    with pytest.raises(InputInvalid, match=said) as error:
        read_run(run, CPU)
    assert str(run) in str(error.value)
    assert "\n" not in str(error.value)


class Hostile:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


@pytest.mark.parametrize("name", ["weights.2.pkl", "z.2.pkl", "config.pkl"])
def test_hostile_files_are_refused_and_run_nothing(run: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """Whichever of them it is."""
    monkeypatch.chdir(run)
    if name == "weights.2.pkl":
        torch.save({"model_state_dict": Hostile()}, run / name)
    else:
        (run / name).write_bytes(pickle.dumps(Hostile()))
    if name == "config.pkl":
        (run / "config.yaml").unlink()
    with pytest.raises(InputInvalid, match=name):
        read_run(run, CPU)
    assert not (run / "pwned").exists()


@pytest.mark.parametrize("name", ["weights.2.pkl", "z.2.pkl", "config.yaml"])
def test_damaged_files_are_one_sentence(run: Path, name: str):
    """Cut off in the middle."""
    raw = (run / name).read_bytes()
    (run / name).write_bytes(raw[: len(raw) // 2] + b"\x00{[")
    with pytest.raises(InputInvalid, match=name):
        read_run(run, CPU)


@pytest.mark.parametrize(("box", "radius", "count"), [(64, 32, 3208), (30, 15, 708), (30, 10, 304)])
def test_the_lattice_has_as_many_pixels_as_cryodrgns_encoders_have_inputs(box: int, radius: int, count: int):
    """Counted in its networks; at a radius of 10 of 30 rounding leaves out the twelve at the radius."""
    assert len(lattice_points(box, radius)) == count


def test_weights_go_to_the_lattice_and_back():
    """But for the four pixels at Nyquist, which a half disc lacks."""
    disc, lattice = whole_disc(BOX), lattice_points(BOX, BOX // 2)
    columns = columns_for(disc, lattice)
    weights = torch.randn(3, 2 * len(disc))
    assert (columns < 0).sum() == 4
    assert torch.equal(to_disc(to_lattice(weights, columns), columns, 2 * len(disc)), weights)
    x, y = lattice[5]
    place = int(columns[5])
    sign = 1 if place < len(disc) else -1
    assert (disc.points[place % len(disc)] * sign).tolist() == [x, y]


@pytest.mark.skipif(shutil.which("cryodrgn") is None, reason="cryoDRGN is not installed")
@pytest.mark.parametrize("name", ["gaussian", "geom_lowf", "linear_lowf"])
def test_cryodrgn_decodes_our_runs_to_our_volumes(tmp_path: Path, name: str):
    """Its own program, in its own environment."""
    folder = tmp_path / "run"
    model = write(folder, SHAPES[name])
    z = latents(SHAPES[name], 2)[:1]
    np.savetxt(tmp_path / "z.txt", z)
    settings, points = folder / "config.yaml", tmp_path / "z.txt"
    command = ["cryodrgn", "eval_vol", folder / "weights.2.pkl", "-c", settings, "--zfile", points, "--Apix", "6"]
    subprocess.run([*command, "-o", tmp_path / "volumes"], check=True, capture_output=True)
    (path,) = (tmp_path / "volumes").glob("*.mrc")
    theirs, ours = mrc.read(path)[0], model.volumes(torch.from_numpy(z))[0]
    assert float((torch.as_tensor(theirs) - ours).norm() / ours.norm()) < 1e-3
    assert struct.unpack("<i", path.read_bytes()[:4]) == (BOX,)
