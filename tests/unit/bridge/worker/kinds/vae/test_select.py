"""`vae.select` as the job runner does it: the rows of the source, byte for byte, of the particles that were meant."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.latent_runs import write_latent_run
from support.map_jobs import run_map_job
from support.moving_run import MovingModel, made_up_series, write_files
from support.spread_particles import spread_particles

from cryobridge.bridge.worker.report.figures.encoding import as_png
from cryobridge.schemas.errors import InputInvalid, OptionsInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.cs_table import read_rows, read_table, write_table
from cryobridge.wrappers.particles.reading import read_table_set
from cryobridge.wrappers.particles.table_choice import TableChoice

KIND = "vae.select"
COUNT, SIDE = 40, 16
HEAD = """# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
1 "first group" 300.0 2.7 0.1 3.0 16
2 second 200.0 1.4 0.07 3.0 16

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnOpticsGroup #3
_rlnAngleRot #4
_rlnAngleTilt #5
_rlnAnglePsi #6
_rlnOriginXAngst #7
_rlnOriginYAngst #8
_rlnDefocusU #9
_rlnDefocusV #10
_rlnDefocusAngle #11
_rlnRandomSubset #12
_someOthers #13
"""


@pytest.fixture(autouse=True)
def quick_sphere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spheres take most of a page's time, and have tests of their own."""
    empty = as_png(np.zeros((4, 4, 3), np.uint8))
    monkeypatch.setattr("cryobridge.bridge.worker.report.figures.view_density", lambda *_: empty)


def star_rows() -> list[str]:
    """Rows of particles in an order that is not the stack's, with columns that only others know."""
    rng = np.random.default_rng(3)
    rows = []
    for row, image in enumerate(rng.permutation(COUNT)):
        half = 1 + row % 2
        rot, tilt, psi = rng.uniform(-180, 180), np.degrees(np.arccos(rng.uniform(-1, 1))), rng.uniform(-180, 180)
        rows.append(
            f"{image + 1:06d}@stack.mrcs  mic_{row % 4}.mrc  {1 + (row >= 30)}  {rot:.6f} {tilt:.6f}   {psi:.6f} "
            f"{rng.normal():.3f} {rng.normal():.3f} {10000 + 100 * row} {9900 + 100 * row} 12.5 {half} odd_{row}\n"
        )
    return rows


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "run_data.star").write_text(HEAD + "".join(star_rows()) + "\n")
    images = np.random.default_rng(1).normal(size=(COUNT, SIDE, SIDE)).astype(np.float32)
    mrc.write_atomically(folder / "stack.mrcs", images, 3.0)
    return folder / "run_data.star"


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(COUNT, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def trained(star: Path, latents: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on all particles."""
    particles = read_table_set(star, (), TableChoice(images=False))
    digest = hashlib.sha256(star.read_bytes()).hexdigest()
    return write_latent_run(tmp_path_factory.mktemp("runs") / "run", latents, particles, digest)


def select(
    output: Path, inputs: Mapping[str, Path | tuple[Path, ...]], **options: Any
) -> tuple[dict[str, Any], list[str]]:
    return run_map_job(KIND, output, inputs, options)


def expected(members: np.ndarray) -> str:
    rows = star_rows()
    return HEAD + "".join(rows[row] for row in np.sort(members)) + "\n"


def test_a_condition_gives_the_rows_of_the_source_and_the_others(
    trained: Path, latents: np.ndarray, tmp_path: Path
) -> None:
    result, _ = select(tmp_path / "out", {"run": trained}, where="z1 > 0 and defocus_u_A < 13000")
    wanted = (latents[:, 0] > 0) & (10000 + 100 * np.arange(COUNT) < 13000)
    assert (tmp_path / "out" / "selected.star").read_text() == expected(np.flatnonzero(wanted))
    assert (tmp_path / "out" / "rest.star").read_text() == expected(np.flatnonzero(~wanted))
    with np.load(tmp_path / "out" / "selection.npz") as found:
        assert found["indices"].tolist() == np.flatnonzero(wanted).tolist()
        assert found["rest"].tolist() == np.flatnonzero(~wanted).tolist()
    assert result["metrics"]["selected"] == wanted.sum()


def test_a_selection_read_again_gives_the_same_particles(trained: Path, star: Path, tmp_path: Path) -> None:
    select(tmp_path / "out", {"run": trained}, where="z2 > 0.1")
    again = read_table_set(tmp_path / "out" / "selected.star", (), TableChoice(images=False))
    with np.load(tmp_path / "out" / "selection.npz") as found:
        whole = read_table_set(star, (), TableChoice(images=False)).of(found["indices"])
    assert again.number.tolist() == whole.number.tolist()
    np.testing.assert_array_equal(again.rotations, whole.rotations)


def test_a_run_on_some_particles_selects_rows_of_the_whole_table(star: Path, tmp_path: Path) -> None:
    members = np.array([30, 5, 7, 12])
    particles = read_table_set(star, (), TableChoice(images=False)).of(members)
    run = write_latent_run(tmp_path / "run", np.arange(4.0)[:, None], particles)
    result, _ = select(tmp_path / "out", {"run": run}, where="z1 < 1.5")
    assert (tmp_path / "out" / "selected.star").read_text() == expected(np.array([5, 30]))
    assert (tmp_path / "out" / "rest.star").read_text() == expected(np.array([7, 12]))
    assert any("36 of the 40 particles" in line for line in result["statements"])


def test_each_cluster_has_its_table_the_last_one_too(trained: Path, tmp_path: Path) -> None:
    labels = np.arange(COUNT) % 3
    np.savez(tmp_path / "analysis.npz", labels=labels, pcs=np.zeros((COUNT, 2)), explained=np.ones(2))
    inputs = {"run": trained, "values": (tmp_path / "analysis.npz",)}
    select(tmp_path / "out", inputs, where="index >= 0", per_cluster=True)
    for cluster in range(3):
        assert (tmp_path / "out" / f"cluster_{cluster}.star").read_text() == expected(np.flatnonzero(labels == cluster))
    select(tmp_path / "two", inputs, clusters="0, 2")
    assert (tmp_path / "two" / "selected.star").read_text() == expected(np.flatnonzero(labels != 1))
    with pytest.raises(InputInvalid, match="no particle is of 'cluster' 7; there are 0, 1, 2"):
        select(tmp_path / "three", inputs, clusters="1,7")
    assert not (tmp_path / "three").exists()


def test_a_lasso_random_ones_and_their_inverse(trained: Path, latents: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "lasso.csv").write_text("z1,z2\n0,-9\n9,-9\n9,9\n0,9\n")
    inputs = {"run": trained, "lasso": tmp_path / "lasso.csv"}
    inside = np.flatnonzero(latents[:, 0] > 0)
    select(tmp_path / "out", inputs, lasso_axes="z1,z2")
    assert (tmp_path / "out" / "selected.star").read_text() == expected(inside)
    result, _ = select(tmp_path / "drawn", inputs, lasso_axes="z1,z2", random=5, invert=True)
    with np.load(tmp_path / "drawn" / "selection.npz") as found:
        assert len(found["rest"]) == 5
        assert set(found["rest"]) <= set(inside)
    assert result["seeds"] == {"random": 0}


def test_numbers_of_any_sort_of_file(trained: Path, tmp_path: Path) -> None:
    chosen = np.array([3, 1, 8])
    (tmp_path / "a.txt").write_text("3\n1\n8\n")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(chosen))
    for ending in ("txt", "pkl"):
        select(tmp_path / ending, {"run": trained, "indices": tmp_path / f"a.{ending}"}, legacy=True)
        assert (tmp_path / ending / "selected.star").read_text() == expected(chosen)
        with (tmp_path / ending / "ind.pkl").open("rb") as file:
            assert pickle.load(file).tolist() == [1, 3, 8]


def test_latents_are_added_only_when_they_are_wanted(trained: Path, latents: np.ndarray, tmp_path: Path) -> None:
    select(tmp_path / "out", {"run": trained}, nearest=3, nearest_to="0,0", with_latents=True)
    text = (tmp_path / "out" / "selected.star").read_text()
    assert "_cryobridgeZ1 #14\n_cryobridgeZ2 #15\n" in text
    rows = [line.split() for line in text.splitlines() if "@stack" in line]
    members = np.sort(np.argsort((latents.astype(float) ** 2).sum(axis=1))[:3])
    assert [row[12] for row in rows] == [f"odd_{member}" for member in members]
    np.testing.assert_allclose(np.array([row[13:] for row in rows], float), latents[members], rtol=1e-5)


def test_a_table_that_has_changed_is_refused(trained: Path, star: Path, tmp_path: Path) -> None:
    shutil.copytree(star.parent, tmp_path / "project")
    other = tmp_path / "project" / "run_data.star"
    select(tmp_path / "moved", {"run": trained, "particles": other}, random=3)
    other.write_text(star.read_text().replace("12.5", "12.6"))
    with pytest.raises(InputInvalid, match=r"is not the table that the run's particles were read from \(its content"):
        select(tmp_path / "out", {"run": trained, "particles": other}, random=3)
    (trained.parent / "no_result").mkdir(exist_ok=True)
    for name in ("model.safetensors", "latents.npz", "particles.npz"):
        shutil.copy(trained / name, trained.parent / "no_result" / name)
    for rows, why in ((star_rows()[:-1], "39 particles"), (star_rows()[::-1], "other images")):
        other.write_text(HEAD + "".join(rows))
        with pytest.raises(InputInvalid, match=why):
            select(tmp_path / "out", {"run": trained.parent / "no_result", "particles": other}, random=3)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_chosen_is_refused_and_nothing_written(trained: Path, star: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", z=np.zeros((7, 2)))
    np.save(tmp_path / "far.npy", np.array([COUNT]))
    tries: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"run": trained}, {}, "no rule"),
        ({}, {"random": 3}, "no particles"),
        ({"run": trained}, {"where": "z1 > 1e9"}, "no particle meets the rules"),
        ({"run": trained}, {"random": COUNT + 1}, f"asks for {COUNT + 1} of {COUNT} particles"),
        ({"run": trained}, {"where": "z9 > 1"}, "no column 'z9'; there are index"),
        ({"run": trained, "values": (tmp_path / "other.npz",)}, {"random": 3}, "says nothing of 40 particles"),
        ({"run": trained, "indices": tmp_path / "far.npy"}, {}, "the index 40"),
        ({"run": trained}, {"nearest": 3}, "nearest_to"),
        ({"run": trained}, {"random": 3, "per_cluster": True}, "no column 'cluster'"),
        ({"particles": star}, {"random": 3, "with_latents": True}, "there are no latents"),
    ]
    for inputs, options, said in tries:
        with pytest.raises(InputInvalid, match=said):
            select(tmp_path / "out", inputs, **options)
    with pytest.raises(OptionsInvalid, match="ends where a comparison"):
        select(tmp_path / "out", {"run": trained}, where="z1")
    assert not (tmp_path / "out").exists()


def test_without_a_run_particles_are_chosen_by_what_their_table_says(star: Path, tmp_path: Path) -> None:
    result, _ = select(tmp_path / "out", {"particles": star}, where="optics_group == 2 and half == 1")
    members = np.array([row for row in range(30, COUNT) if row % 2 == 0])
    assert (tmp_path / "out" / "selected.star").read_text() == expected(members)
    counts = (tmp_path / "out" / "counts.csv").read_text().splitlines()
    assert "optics group,2,10,5,0.5000" in counts
    assert "half-set,2,20,0,0.0000" in counts
    page = (tmp_path / "out" / "report.html").read_text()
    assert "does not take the same share of each half-set" not in page
    assert not [name for name in result["metrics"] if name.startswith("scf_star")]
    assert page.count("too few views to tell") == 3


def test_a_selection_of_one_half_set_is_a_warning(star: Path, tmp_path: Path) -> None:
    select(tmp_path / "out", {"particles": star}, where="half == 1")
    assert "does not take the same share of each half-set" in (tmp_path / "out" / "report.html").read_text()


def test_micrographs_of_few_particles_are_not_judged(star: Path, tmp_path: Path) -> None:
    """Both particles of 5 micrographs among 200: of each 0.05 are expected, which chi-square cannot judge."""
    rows = [f"000001@stack.mrcs mic_{row // 2}.mrc 1 0 0 0 0 0 10000 10000 0 1 odd\n" for row in range(400)]
    table = tmp_path / "few.star"
    table.write_text(HEAD + "".join(rows))
    np.save(tmp_path / "ten.npy", np.arange(10))
    select(tmp_path / "out", {"particles": table, "indices": tmp_path / "ten.npy"})
    assert "the same share of each micrograph" not in (tmp_path / "out" / "report.html").read_text()


def test_a_selection_of_one_view_is_a_warning_and_one_at_random_is_not(star: Path, tmp_path: Path) -> None:
    rows = []
    for row in range(400):
        # Half of the particles are seen from all sides, the others from the top.
        tilt = np.degrees(np.arccos(1 - 2 * (row + 0.5) / 400)) if row % 2 else 2.0
        rows.append(f"000001@stack.mrcs mic.mrc 1 {137.5 * row % 360:.3f} {tilt:.3f} 0 0 0 10000 10000 0 1 odd\n")
    table = tmp_path / "views.star"
    table.write_text(HEAD + "".join(rows))
    result, _ = select(tmp_path / "top", {"particles": table}, where="tilt_deg < 10")
    assert {"scf_star_all", "scf_star_selected"} <= set(result["metrics"])
    assert "see the object less evenly" in (tmp_path / "top" / "report.html").read_text()
    select(tmp_path / "some", {"particles": table}, random=200)
    assert "see the object less evenly" not in (tmp_path / "some" / "report.html").read_text()


@pytest.fixture
def cryosparc(tmp_path: Path) -> dict[str, Path]:
    """Particles of CryoSPARC in two files, that of the other slots in another order."""
    columns = spread_particles(COUNT)
    passed = {
        "uid": columns["uid"][::-1],
        "pick_stats/power": np.arange(COUNT, dtype=np.float32)[::-1],
        "alignments_class_0/class_posterior": np.zeros(COUNT, np.float32),
    }
    write_table(tmp_path / "J7_particles.cs", columns)
    write_table(tmp_path / "J7_passthrough_particles.cs", passed)
    return {"particles": tmp_path / "J7_particles.cs", "passthrough": tmp_path / "J7_passthrough_particles.cs"}


def test_cryosparc_gets_every_column_back_and_a_group_to_import(cryosparc: dict[str, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([11, 2, 3]))
    inputs = {
        "particles": cryosparc["particles"],
        "passthrough": (cryosparc["passthrough"],),
        "indices": tmp_path / "a.npy",
    }
    select(tmp_path / "out", inputs)
    source, kept = read_rows(cryosparc["particles"]), read_rows(tmp_path / "out" / "selected.cs")
    assert kept.dtype == source.dtype
    assert (kept == source[[2, 3, 11]]).all()
    passed = read_table(tmp_path / "out" / "selected_passthrough_1.cs")
    assert sorted(passed["uid"]) == sorted(source["uid"][[2, 3, 11]])
    assert passed["pick_stats/power"].tolist() == [11, 3, 2]
    group = yaml.safe_load((tmp_path / "out" / "selected.csg").read_text())
    assert group["group"]["type"] == "particle"
    assert group["results"]["blob"] == {"metafile": ">selected.cs", "num_items": 3, "type": "particle.blob"}
    assert group["results"]["alignments_class_0"] == {
        "metafile": ">selected_passthrough_1.cs",
        "num_items": 3,
        "type": "particle.alignments3D",
    }
    rest = read_rows(tmp_path / "out" / "rest.cs")
    assert len(rest) == COUNT - 3
    assert not set(rest["uid"]) & set(kept["uid"])


def test_latents_go_into_slots_as_those_of_3d_variability(
    cryosparc: dict[str, Path], latents: np.ndarray, tmp_path: Path
) -> None:
    particles = read_table_set(cryosparc["particles"], (), TableChoice(images=False))
    run = write_latent_run(tmp_path / "run", latents, particles)
    assert read_table(run / "latents.cs")["uid"].tolist() == read_table(cryosparc["particles"])["uid"].tolist()
    select(tmp_path / "out", {"run": run}, where="z1 > 0", with_latents=True)
    found = read_table(tmp_path / "out" / "selected.cs")
    members = np.flatnonzero(latents[:, 0] > 0)
    np.testing.assert_array_equal(found["components_mode_1/value"], latents[members, 1])
    assert set(found["components_mode_1/component"]) == {1}
    assert found["uid"].tolist() == read_table(cryosparc["particles"])["uid"][members].tolist()


@pytest.mark.skipif(shutil.which("relion_star_handler") is None, reason="RELION is not installed")
def test_relion_takes_the_selected_particles(trained: Path, star: Path, tmp_path: Path) -> None:
    select(tmp_path / "out", {"run": trained}, where="z1 > 0", with_latents=True)
    shutil.copy(star.parent / "stack.mrcs", tmp_path)
    shutil.copy(tmp_path / "out" / "selected.star", tmp_path / "selected.star")
    # A star handler keeps what it knows, and the program that makes maps takes poses, CTF and images of it.
    for command in (
        [
            "relion_star_handler",
            "--i",
            "selected.star",
            "--o",
            "again.star",
            "--select",
            "rlnDefocusU",
            "--minval",
            "0",
        ],
        ["relion_reconstruct", "--i", "selected.star", "--o", "map.mrc", "--ctf"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    kept = [line for line in (tmp_path / "again.star").read_text().splitlines() if "@" in line]
    rows = [line for line in (tmp_path / "selected.star").read_text().splitlines() if "@" in line]
    assert len(kept) == len(rows)
    assert mrc.read(tmp_path / "map.mrc")[0].shape == (SIDE,) * 3


@pytest.mark.parametrize("rule", [{"random": 5}, {"nearest": 5, "nearest_to": "0,0"}])
def test_images_of_a_tilt_series_are_chosen_together_and_counted_as_one(rule: dict[str, Any], tmp_path: Path) -> None:
    latents = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)
    write_files(tmp_path / "run", MovingModel(2), np.tile(latents, (3, 1)), particles=made_up_series(20, 3))
    result, _ = run_map_job(KIND, tmp_path / "out", {"run": tmp_path / "run"}, rule)
    with np.load(tmp_path / "out" / "selection.npz") as found:
        members = found["members"]
    assert np.unique(members % 20, return_counts=True)[1].tolist() == [3] * 5
    assert (result["metrics"]["particles"], result["metrics"]["images"], result["metrics"]["selected"]) == (20, 60, 5)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "5 of 20 particles are selected (25 %), with 15 of 60 images." in page
