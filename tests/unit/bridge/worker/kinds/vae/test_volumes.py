"""`vae.volumes` writes the volumes that the model has at the latents asked for, and says where none belong."""

from __future__ import annotations

import csv
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.blob_model import BlobModel, blob_run
from support.literature import cites_what_it_names
from support.map_jobs import read_back, run_map_job, write_maps
from support.moving_run import made_up_series, write_moving_run

from cryobridge.bridge.worker.heterogeneity import decoding
from cryobridge.bridge.worker.kinds.vae.volumes.page import passage
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc

pytestmark = pytest.mark.slow

BOX, VOXEL_A = 16, 2.0
MODEL = BlobModel(torch.tensor(0.0), BOX, VOXEL_A, 2)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    generator = np.random.default_rng(3)
    return blob_run(tmp_path / "trained", generator.standard_normal((200, 2)) * [1.0, 0.2])


def run(trained: Path, options: dict[str, Any], **inputs: Path) -> tuple[dict[str, Any], Path]:
    output = trained.parent / "out"
    result, _ = run_map_job("vae.volumes", output, {"run": trained, **inputs}, options)
    return result, output


def expected(*latents: tuple[float, float]) -> torch.Tensor:
    return MODEL.volumes(torch.tensor(latents)).double()


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_has_both_of_its_ends_and_equal_steps(trained: Path) -> None:
    result, output = run(trained, {"z_start": [-1, 0], "z_end": [1, 0.2], "n": 3})
    written = torch.stack([read_back(output / f"vol_00{number}.mrc") for number in (1, 2, 3)])
    torch.testing.assert_close(written, expected((-1, 0), (0, 0.1), (1, 0.2)), atol=1e-6, rtol=0)
    assert (output / "z_values.txt").read_text() == "-1 0\n0 0.1\n1 0.2\n"
    assert result["metrics"]["volumes"] == 3
    spread = read_back(output / "spread.mrc")
    torch.testing.assert_close(spread, written.std(dim=0, correction=0), atol=1e-5, rtol=0)


def test_latents_that_were_written_may_be_given_again(trained: Path) -> None:
    _, output = run(trained, {"particles": "5,3"})
    kept = output.rename(trained.parent / "first")
    for name in ("z_values.txt", "volumes.csv"):
        _, again = run(trained, {}, z_file=kept / name)
        for number in (1, 2):
            torch.testing.assert_close(
                read_back(again / f"vol_00{number}.mrc"), read_back(kept / f"vol_00{number}.mrc"), atol=1e-6, rtol=0
            )
        again.rename(trained.parent / name)
    assert [row["nearest_particle"] for row in rows(kept / "volumes.csv")] == ["5", "3"]
    assert {row["off_the_data"] for row in rows(kept / "volumes.csv")} == {"no"}


def test_without_a_word_it_goes_along_the_first_principal_component(trained: Path) -> None:
    _, output = run(trained, {"count": 4})
    latents = np.loadtxt(output / "z_values.txt")
    assert latents.shape == (4, 2)
    first, last = latents[0], latents[-1]
    assert abs(last[0] - first[0]) > 10 * abs(last[1] - first[1])
    assert (output / "neighbours.csv").is_file()


def test_what_lies_off_the_data_is_said(trained: Path) -> None:
    result, output = run(trained, {"z": [9, 9]})
    assert any("1 of 1 latents lie off the data (volumes 1)" in line for line in result["statements"])
    assert rows(output / "volumes.csv")[0]["off_the_data"] == "yes"
    assert "lie off the data" in (output / "report.html").read_text()


def test_images_of_a_tilt_series_are_one_particle_to_be_near_to(tmp_path: Path) -> None:
    """Were they particles the nearest other of each would be at no distance, and every latent off the data."""
    latents = np.repeat(np.random.default_rng(3).standard_normal((200, 2)), 3, axis=0)
    series = made_up_series(200, 3)
    assert series.tilts is not None
    particles = replace(series, tilts=replace(series.tilts, particle=np.repeat(np.arange(200), 3)))
    trained = write_moving_run(tmp_path / "trained", latents, particles=particles)
    result, output = run(trained, {"z": (latents[16] + 0.001).tolist()})
    (row,) = rows(output / "volumes.csv")
    assert result["metrics"]["off_the_data"] == 0
    assert row["nearest_particle"] == "15"


def test_a_volume_is_finished_as_asked_and_lies_where_the_consensus_does(trained: Path) -> None:
    place = mrc.MapPosition((0, 0, 0), (10.0, 20.0, 30.0))
    mrc.write_atomically(trained / "consensus.mrc", np.ones((BOX,) * 3, np.float32), VOXEL_A, place)
    options = {"z": "0.5,0", "flip": True, "invert": True, "prefix": "a-", "vol_start_index": 0, "Apix": 1.0}
    _, output = run(trained, {**options, "crop": 12})
    mirrored = -expected((0.5, 0))[0].flip(0).roll(1, 0)
    torch.testing.assert_close(read_back(output / "a-000.mrc"), mirrored[2:14, 2:14, 2:14], atol=1e-6, rtol=0)
    header = mrc.read_header(output / "a-000.mrc")
    assert header.voxel_size_A == pytest.approx((1.0, 1.0, 1.0))
    assert header.position.origin_A == pytest.approx((12.0, 22.0, 32.0))


@pytest.mark.parametrize(
    ("options", "box", "voxel_A"),
    [({"d": 8}, 8, 4.0), ({"target_voxel_size_A": 2.7}, 12, 32 / 12), ({"target_apix": 1.0}, 32, 1.0)],
)
def test_a_resampled_volume_is_the_same_particle(
    trained: Path, options: dict[str, Any], box: int, voxel_A: float
) -> None:
    _, output = run(trained, {"z": [0, 0], **options})
    written = read_back(output / "vol_001.mrc")
    assert written.shape == (box,) * 3
    assert mrc.read_header(output / "vol_001.mrc").voxel_size_A[0] == pytest.approx(voxel_A, rel=1e-5)
    # Both blobs stay where they were in Angstrom, and the mean stays what it was.
    axis = (torch.arange(box, dtype=torch.float64) - box // 2) * voxel_A
    whole = expected((0, 0))[0]
    before = (torch.arange(BOX, dtype=torch.float64) - BOX // 2) * VOXEL_A
    assert float(written.mean()) == pytest.approx(float(whole.mean()), rel=0.02)
    assert float((written.sum((0, 1)) * axis).sum() / written.sum()) == pytest.approx(
        float((whole.sum((0, 1)) * before).sum() / whole.sum()), abs=0.6
    )


def test_the_script_steps_through_the_volumes(trained: Path) -> None:
    _, output = run(trained, {"count": 3})
    script = (output / "volumes.cxc").read_text()
    assert script.count("open ") >= 3
    assert "mseries slider" in script
    assert "tile" not in script
    assert "not a reconstruction of particles" in (output / "report.html").read_text()


@pytest.mark.parametrize("name", ["coordinate", "linear"])
def test_the_methods_cite_what_they_name(name: str) -> None:
    cites_what_it_names(passage("a grid", name, 2, 5))


def test_a_model_of_one_volume_gives_it(tmp_path: Path) -> None:
    trained = blob_run(tmp_path / "trained", np.zeros((20, 0)))
    _, output = run(trained, {})
    torch.testing.assert_close(read_back(output / "vol_001.mrc"), expected((0, 0))[0], atol=1e-6, rtol=0)
    assert not (output / "spread.mrc").exists()


@pytest.mark.parametrize("batch", [1, 3, None])
def test_the_size_of_a_batch_changes_nothing(trained: Path, batch: int | None) -> None:
    latents = np.linspace(-1, 1, 14, dtype=np.float32).reshape(7, 2)
    found = torch.stack(
        [one for one in decoding.decoded(MODEL, latents, torch.device("cpu"), batch) if one is not None]
    )
    torch.testing.assert_close(found, MODEL.volumes(torch.from_numpy(latents)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"z": [1, 2, 3]}, "z: has 3 numbers, latents of .* have 2"),
        ({"z": [1, 2], "grid": "pc1"}, "z, grid each say which latents; give one of them"),
        ({"z_start": [1, 2]}, "'z_start' and 'z_end' go together"),
        ({"particles": [200]}, "particles: 200 is not among the 200"),
        ({"grid": "pc3"}, "there is no axis 3"),
        ({"grid": "pc1,z1"}, "all principal components"),
        ({"grid": "x1"}, "is no axis; write e.g. pc1"),
        ({"grid": "z1:0:1:200,z2:0:1:200"}, "40000 volumes are asked for; a job computes at most 10000"),
        ({"z": [0, 0], "box": 32}, "box 32: volumes of .* have a box of 16"),
        ({"z": [0, 0], "crop": 32}, "crop 32: is larger than the box of 16"),
        ({"z": [0, 0], "low_pass": 2}, "low_pass_A 2 is not between 32 A"),
        ({"z": [0, 0], "epoch": 4}, "latents of epoch 4 were not kept"),
        ({"z": [0, 0], "epoch": 0}, "latents of epoch 0 were not kept"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(
    trained: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputInvalid, match=said):
        run(trained, options)
    assert not (trained.parent / "out").exists()


def test_what_does_not_fit_is_refused_with_a_number(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    with pytest.raises(InputInvalid, match=r"a volume of box 16 takes 0\.0 GB while it is computed"):
        run(trained, {})
    with pytest.raises(InputInvalid, match=r"10000 volumes of box 2048 take 343597\.4 GB"):
        decoding.expect_room_on_disk(trained / "not" / "there", 10_000, 2048)


def test_a_damaged_run_is_one_sentence(trained: Path) -> None:
    write_maps(trained, 1.0, consensus=torch.ones(8, 8, 8))
    (trained / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputInvalid, match="is no model of heterogeneity, or damaged"):
        run(trained, {})


class _Resting:
    """A model that takes long, and rests."""

    box = MODEL.box

    def volumes_in_steps(self, z: torch.Tensor) -> Generator[None, None, torch.Tensor]:
        for _ in range(5):
            yield
        return MODEL.volumes(z)


def test_others_have_their_turn_while_volumes_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_REST_S", -1.0)
    latents = np.linspace(-1, 1, 14, dtype=np.float32).reshape(7, 2)
    found = list(decoding.decoded(_Resting(), latents, torch.device("cpu"), 7))  # type: ignore[arg-type]
    assert [one is None for one in found] == [True] * 5 + [False] * 7
