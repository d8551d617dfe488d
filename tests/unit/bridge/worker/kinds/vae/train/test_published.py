"""The published method as a job: it learns, goes on after an interruption, and cryoDRGN's layout of it opens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
import yaml
from support.map_jobs import run_map_job
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.bridge.worker.heterogeneity import images as images_module
from cryobridge.bridge.worker.heterogeneity import preparation as preparation_module
from cryobridge.bridge.worker.heterogeneity.drawn import DrawnFigures
from cryobridge.bridge.worker.heterogeneity.run_folder import read_run
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.vae.train import published
from cryobridge.bridge.worker.kinds.vae.train.published_setup import objects_of, published_training
from cryobridge.core.training import Parking
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.train import TrainOptions
from cryobridge.wrappers.cryodrgn import read_peer_run
from cryobridge.wrappers.formats.pickled_arrays import read_pickled
from cryobridge.wrappers.particles.particle_set import TiltColumns

OPTIONS: dict[str, Any] = {
    "method": "published",
    "zdim": 2,
    "num_epochs": 2,
    "batch_size": 8,
    "lr": 1e-3,
    "enc_dim": 32,
    "enc_layers": 1,
    "dec_dim": 32,
    "dec_layers": 1,
    "contrast": "bright",
}
CPU = torch.device("cpu")
VOLUMES = 6
"""Made at the end, with a rest after each: along the first component, and of the mean latent."""


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("twostate", 60, 16)


@pytest.fixture(scope="module")
def table(particles: SimulatedParticles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return particles.write(tmp_path_factory.mktemp("particles"))


@pytest.fixture(scope="module")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("jobs") / "trained"
    run_map_job("vae.train", output, {"particles": table}, {**OPTIONS, "legacy": True})
    return output


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first training, which is older than this fixture, draws the figures of its report."""
    monkeypatch.setattr(DrawnFigures, "add", lambda *_, **__: None)


def test_a_training_ends_with_a_model_latents_of_every_epoch_and_losses(trained: Path):
    """Everything that later jobs ask for is there."""
    run = read_run(trained, CPU)
    assert run.latents.shape == (60, 2)
    assert sorted(run.epochs) == [1, 2]
    assert np.array_equal(run.latents_of_epoch(2), run.latents)
    assert run.model.name == "coordinate"
    assert run.model.volumes(torch.from_numpy(run.latents[:2])).shape == (2, 16, 16, 16)
    rows = (trained / "training.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,loss,data,kl")
    assert float(rows[2].split(",")[1]) < float(rows[1].split(",")[1])


def test_stored_latents_are_what_the_stored_encoder_says(trained: Path, particles: SimulatedParticles):
    """The encoder is given spectra as they are prepared everywhere."""
    run = read_run(trained, CPU)
    _, spectra, ctf, rotations = particles.spectra(8 - 1e-3)
    norm = run.model.norm * run.model.scale  # type: ignore[attr-defined]
    mean, _ = run.model.encode(spectra / norm, ctf, rotations)  # type: ignore[attr-defined]
    assert np.allclose(mean.numpy(), run.latents, atol=1e-4)


def test_the_layout_of_cryodrgn_opens_as_the_same_model(trained: Path):
    """Volumes and latents are those of our own files, and epochs count from 1."""
    ours, theirs = read_run(trained, CPU), read_peer_run(trained, CPU)
    z = torch.from_numpy(ours.latents[:2])
    assert torch.allclose(ours.model.volumes(z), theirs.model.volumes(z), atol=1e-5)
    assert np.array_equal(ours.latents, theirs.latents)
    assert sorted(theirs.epochs) == [1, 2]
    assert theirs.counts_from == 1
    assert theirs.particles is not None
    assert "=====> Epoch: 2" in (trained / "run.log").read_text()


SELECTED = [40, 7, 8, 55, 3, 21, 22, 23, 24, 30]


@pytest.mark.parametrize("of", ["table", "list"])
def test_the_layout_of_selected_particles_opens_to_these(trained: Path, table: Path, tmp_path: Path, of: str):
    """cryoDRGN wants tables of all particles beside a selection of them; a list is the particles of all its stacks."""
    given = listed(table, trained, tmp_path) if of == "list" else {"particles": table}
    np.save(tmp_path / "chosen.npy", np.array(SELECTED))
    run_map_job("vae.train", tmp_path / "run", {**given, "ind": tmp_path / "chosen.npy"}, SHORT)
    expect_particles_of(tmp_path / "run", np.array(SELECTED))
    assert unpickled_lengths(tmp_path / "run", "pose.pkl") == unpickled_lengths(tmp_path / "run", "ctf.pkl") == [60]
    assert unpickled_lengths(tmp_path / "run", "ind.pkl") == [10]
    found = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["dataset_args"]
    assert found["datadir"] == (str(tmp_path / "stacks") if of == "list" else None)


def test_the_layout_of_a_list_of_stacks_opens_to_all_of_them(trained: Path, table: Path, tmp_path: Path):
    """And not to the first."""
    run_map_job("vae.train", tmp_path / "run", listed(table, trained, tmp_path), SHORT)
    expect_particles_of(tmp_path / "run", np.arange(60))
    assert not (tmp_path / "run/ind.pkl").exists()


SHORT = {**OPTIONS, "num_epochs": 1, "legacy": True}


def listed(table: Path, trained: Path, folder: Path) -> dict[str, Path]:
    """The same particles as a list of two stacks, which lie in a folder of their own."""
    with mrcfile.open(table.with_name("particles.mrcs")) as file:
        images = np.asarray(file.data)
    (folder / "stacks").mkdir()
    for name, some in (("a.mrcs", images[:25]), ("b.mrcs", images[25:])):
        with mrcfile.new(folder / "stacks" / name, some) as file:
            file.set_image_stack()
            file.voxel_size = 6.0
    (folder / "list.txt").write_text("a.mrcs\nb.mrcs\n")
    tables = {"poses": trained / "pose.pkl", "ctf": trained / "ctf.pkl"}
    return {"particles": folder / "list.txt", "datadir": folder / "stacks", **tables}


def expect_particles_of(run: Path, rows: np.ndarray) -> None:
    """What a run's layout names are the particles that it was trained on, these rows of their table."""
    ours, theirs = read_run(run, CPU), read_peer_run(run, CPU)
    assert ours.particles is not None
    assert theirs.particles is not None
    assert theirs.particles.ctf is not None
    assert ours.particles.ctf is not None
    assert theirs.particles.rows.tolist() == rows.tolist()
    assert len(theirs.latents) == len(rows)
    for name in ("stack", "number", "pixel_size_A", "rotations", "shifts_A"):
        assert np.allclose(getattr(theirs.particles, name), getattr(ours.particles, name), atol=1e-4), name
    assert np.allclose(theirs.particles.ctf.defocus_u_A, ours.particles.ctf.defocus_u_A, rtol=1e-6)


def unpickled_lengths(run: Path, name: str) -> list[int]:
    """Rows of the arrays in a file, each number of them once."""
    found = read_pickled(run / name)
    arrays = found[0] if isinstance(found[0], tuple) else found
    return sorted({len(one) for one in arrays})


@pytest.mark.parametrize("share_of_free", [0.5, 0.0])
def test_a_training_that_was_broken_off_ends_with_the_same_bits(
    share_of_free: float, trained: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its checkpoint holds all that the rest depends on; so it is where images do not fit the memory any more."""
    spec = spec_of(table, tmp_path / "again", legacy=True, checkpoint_every_s=1e-6)
    steps = run_job(spec, CPU)
    for step in steps:
        if step is not None and "step 9/" in step.text:
            break
    steps.close()
    assert (tmp_path / "again/.seed_0.safetensors").is_file()
    monkeypatch.setattr(images_module, "_SHARE_OF_FREE", share_of_free)
    result: dict[str, Any] = {}
    steps = run_job(spec, CPU)
    while not result:
        try:
            next(steps)
        except StopIteration as end:
            result = dict(end.value)
    assert np.array_equal(read_run(tmp_path / "again", CPU).latents, read_run(trained, CPU).latents)
    assert "goes on after step 9" in (tmp_path / "again/run.log").read_text()
    assert not (tmp_path / "again/.seed_0.safetensors").exists()


class Recording:
    """Moves nothing."""

    def to_host(self, tensor: torch.Tensor) -> bool:
        return False

    def to_device(self, tensor: torch.Tensor) -> None:
        raise AssertionError("nothing was moved")


def spec_of(table: Path, output: Path, **options: Any) -> dict[str, Any]:
    inputs = {"particles": str(table)}
    return {
        "schema": "cryobridge/job/1",
        "kind": "vae.train",
        "inputs": inputs,
        "output": str(output),
        "options": {**OPTIONS, **options},
    }


def test_a_call_is_let_in_while_latents_are_found(
    trained: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between any two parts of the images, whose memory it can have; the latents of both epochs and the last ones."""
    monkeypatch.setattr(published, "_LATENTS_AT_ONCE", 16)
    parking = Parking(Recording())
    steps = run_job(spec_of(table, tmp_path / "parts", controls=False), CPU, parking=parking)
    parts, held = 0, 0
    for step in steps:
        if step is None:
            parts += 1
            held += {(60, 96), (32, 32)} <= {tuple(tensor.shape) for tensor in parking.tensors()}
    assert held == 3 * 4
    assert parts == held + VOLUMES
    again, before = (read_run(folder, CPU) for folder in (tmp_path / "parts", trained))
    assert np.allclose(again.latents, before.latents, atol=1e-6)
    assert np.allclose(again.latents_of_epoch(1), before.latents_of_epoch(1), atol=1e-6)


def test_a_call_is_let_in_while_images_are_read(
    trained: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between any two parts of a buffer, which is parked with the rest; two epochs of four parts, three of latents."""
    monkeypatch.setattr(images_module, "_SHARE_OF_FREE", 0.0)
    monkeypatch.setattr(preparation_module, "_CHUNK_BYTES", 0)  # so 16 images at once
    parking = Parking(Recording())
    parts, held = 0, 0
    for step in run_job(spec_of(table, tmp_path / "read", controls=False), CPU, parking=parking):
        if step is None:
            parts += 1
            held += {(56, 96), (32, 32)} <= {tuple(tensor.shape) for tensor in parking.tensors()}
    assert held == 2 * 4 + 3
    assert parts == held + VOLUMES
    assert np.array_equal(read_run(tmp_path / "read", CPU).latents, read_run(trained, CPU).latents)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_training_that_was_broken_off_while_latents_were_found_lacks_none(
    epoch: int, trained: Path, table: Path, tmp_path: Path
):
    spec = spec_of(table, tmp_path / "cut", checkpoint_every_s=1e-6)
    steps = run_job(spec, CPU)
    while next(steps) is not None or (epoch := epoch - 1):
        pass
    steps.close()
    for _ in run_job(spec, CPU):
        pass
    again, before = (read_run(folder, CPU) for folder in (tmp_path / "cut", trained))
    assert np.array_equal(again.latents, before.latents)
    assert all(np.array_equal(again.latents_of_epoch(one), before.latents_of_epoch(one)) for one in (1, 2))


def test_a_training_whose_last_step_is_done_ends(trained: Path, table: Path, tmp_path: Path):
    """Though it was broken off after that."""
    spec = spec_of(table, tmp_path / "cut")
    steps = run_job(spec, CPU)
    nothing = 0
    while nothing < 3:
        nothing += next(steps) is None
    steps.close()
    for _ in run_job(spec, CPU):
        pass
    assert "goes on after step 14" in (tmp_path / "cut/run.log").read_text()
    assert np.array_equal(read_run(tmp_path / "cut", CPU).latents, read_run(trained, CPU).latents)


def test_a_training_goes_on_from_an_earlier_one(trained: Path, table: Path, tmp_path: Path):
    """Its loss begins where the other ended; a network of another shape is refused."""
    output = tmp_path / "more"
    run_map_job("vae.train", output, {"particles": table, "load": trained}, {**OPTIONS, "num_epochs": 1})
    before = float((trained / "training.csv").read_text().splitlines()[1].split(",")[1])
    after = float((output / "training.csv").read_text().splitlines()[1].split(",")[1])
    assert after < before
    with pytest.raises(InputInvalid, match="another network"):
        run_map_job("vae.train", tmp_path / "other", {"particles": table, "load": trained}, {**OPTIONS, "dec_dim": 16})


def test_without_latents_one_volume_is_learned(table: Path, tmp_path: Path):
    """A homogeneous reconstruction is the same job."""
    output = tmp_path / "one"
    run_map_job("vae.train", output, {"particles": table}, {**OPTIONS, "zdim": 0, "legacy": True})
    run = read_run(output, CPU)
    assert run.latents.shape == (60, 0)
    volume = run.model.volumes(torch.zeros(1, 0))
    assert torch.allclose(read_peer_run(output, CPU).model.volumes(torch.zeros(1, 0)), volume, atol=1e-5)


def test_poses_that_are_learned_end_in_the_particles(table: Path, particles: SimulatedParticles, tmp_path: Path):
    """They move after the passes that they rest for, and stay rotations."""
    output = tmp_path / "poses"
    options = {**OPTIONS, "do_pose_sgd": True, "pretrain": 1, "pose_lr": 1e-2, "emb_type": "s2s2", "domain": "hartley"}
    run_map_job("vae.train", output, {"particles": table}, options)
    found = read_run(output, CPU).particles
    assert found is not None
    assert found.rotations is not None
    assert found.shifts_A is not None
    before = particles.particle_set(table)
    moved = np.abs(found.rotations - before.rotations).max(axis=(1, 2))
    assert (moved[: 60 // 8 * 8] < 0.1).all()
    assert (moved > 1e-3).mean() > 0.8
    assert np.allclose(found.rotations @ found.rotations.transpose(0, 2, 1), np.eye(3), atol=1e-5)
    assert not np.allclose(found.shifts_A, before.shifts_A)


def test_latents_can_be_learned_one_by_one(table: Path, tmp_path: Path):
    """Without an encoder there is no variance, and no image can be encoded later."""
    output = tmp_path / "table"
    run_map_job("vae.train", output, {"particles": table}, {**OPTIONS, "encoder": "table"})
    run = read_run(output, CPU)
    assert run.log_variances is None
    assert np.ptp(run.latents, axis=0).min() > 0
    with pytest.raises(ValueError, match="no encoder of single images"):
        run.model.encode(torch.zeros(1, 96, dtype=torch.complex64), torch.zeros(1, 96), torch.eye(3)[None])  # type: ignore[attr-defined]


def test_images_of_one_object_are_found_by_rising_dose(particles: SimulatedParticles, table: Path):
    """An object with too few images shows some of them again."""
    tilts = TiltColumns(np.array([5, 3, 5, 3, 5, 3, 3]), np.zeros(7), np.array([3.0, 0, 1, 2, 2, 1, 4]))
    some = replace(particles.particle_set(table).of(np.arange(7)), tilts=tilts)
    options = TrainOptions.model_validate({"method": "published", "encoder": "series", "ntilts": 4})
    found = objects_of(some, options)
    assert found is not None
    assert found.tolist() == [[1, 5, 3, 6], [2, 4, 0, 2]]
    with pytest.raises(InputInvalid, match="_rlnGroupName"):
        objects_of(replace(some, tilts=None), options)


def test_the_published_training_is_adam_at_a_constant_rate():
    """Nothing is clipped, averaged or decayed that cryoDRGN does not."""
    found = published_training(TrainOptions.model_validate({"method": "published"}), 3, 1000)
    assert (found.batch, found.learning_rate, found.schedule) == (16, 1e-4, "constant")
    assert (found.gradient_clip, found.ema, found.weight_decay, found.seed) == (None, 0.0, 0.0, 3)


@pytest.mark.parametrize(
    ("count", "objects", "expected"),
    [(100_000, None, 1024), (100, None, 50), (100_000, (2_500, 40), 25), (100_000, (50_000, 2), 512), (8, (4, 2), 2)],
)
def test_what_is_kept_out_fits_the_device(count: int, objects: tuple[int, int] | None, expected: int):
    """As all of it is held there at once; half of the objects are learned from, whatever was asked for."""
    options = TrainOptions.model_validate({"method": "published", "held_out": 60_000})
    assert published_training(options, 0, count, objects).held_out == expected


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"qlayers": 2}, "encoder_layers", 2),
        ({"qdim": 64}, "encoder_width", 64),
        ({"players": 2}, "decoder_layers", 2),
        ({"pdim": 64}, "decoder_width", 64),
        ({"pe_type": "geom_lowf"}, "encoding", "geom_lowf"),
        ({"pe_dim": 9}, "encoding_count", 9),
        ({"feat_sigma": 0.3}, "feature_sigma", 0.3),
        ({"encode_mode": "mlp"}, "encoder", "mlp"),
        ({"enc_mask": 20}, "encoder_radius", 20),
        ({"do_pose_sgd": True}, "learn_poses", True),
        ({"t_emb_dim": 8}, "tilt_embedding", 8),
    ],
)
def test_names_of_cryodrgn_are_understood(options: dict[str, Any], name: str, value: object):
    """Old ones and new ones mean ours."""
    assert getattr(TrainOptions.model_validate(options), name) == value


def test_real_space_is_of_convolutions():
    """Other encoders never see it."""
    with pytest.raises(ValueError, match="encoder: conv"):
        TrainOptions.model_validate(json.loads('{"use_real": true}'))
