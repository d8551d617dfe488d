"""`particles.backproject` as the job runner does it, against the volume that particles were projected from."""

from __future__ import annotations

import csv
import gzip
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from support.map_jobs import read_back, run_map_job
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.bridge.worker.heterogeneity.streaming import StreamedImages
from cryobridge.bridge.worker.heterogeneity.tilt_series import order_within, weights_of
from cryobridge.bridge.worker.kinds.particles.backproject import job
from cryobridge.bridge.worker.kinds.particles.backproject.found import Backprojected, half_sets_of
from cryobridge.bridge.worker.kinds.particles.backproject.tilts import with_tilts
from cryobridge.bridge.worker.kinds.particles.backproject.verdict import judged
from cryobridge.core.particles import ImageProbe, half_disc
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.kinds.particles.backproject import BackprojectOptions
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.array_file import read_arrays
from cryobridge.wrappers.particles.particle_set import TiltColumns

KIND = "particles.backproject"
BOX, COUNT = 24, 240


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("homogeneous", COUNT, BOX, snr=1.0)


@pytest.fixture(scope="module")
def table(particles: SimulatedParticles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return particles.write(tmp_path_factory.mktemp("particles"))


@pytest.fixture(scope="module")
def result(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The job with its defaults, and its folder."""
    out = tmp_path_factory.mktemp("done") / "out"
    return run_map_job(KIND, out, {"particles": table}, {"sums": True})[0], out


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.double().flatten(), second.double().flatten()]))[0, 1])


def test_the_map_is_the_volume_and_has_its_voxel_size(
    particles: SimulatedParticles, result: tuple[dict[str, Any], Path]
) -> None:
    _, out = result
    assert correlation(read_back(out / "backproject.mrc"), torch.from_numpy(particles.volume(0.5))) > 0.9
    for name in ("backproject.mrc", "half1.mrc", "half2.mrc", "mask.mrc"):
        assert mrc.read_header(out / name).voxel_size_A == pytest.approx((particles.pixel_size_A,) * 3)


def test_what_was_found_is_said(result: tuple[dict[str, Any], Path]) -> None:
    found, out = result
    metrics = found["metrics"]
    assert metrics["images"] == COUNT
    assert metrics["contrast"] == "bright"
    assert metrics["poses_fit"] is True
    assert 2 * 6.0 <= metrics["resolution_A"] < 40
    assert any(line.startswith("Poses and CTF fit these images") for line in found["statements"])
    assert any("half-sets of the table" in line for line in found["statements"])
    page = (out / "report.html").read_text()
    assert "Poses and CTF fit these images" in page
    assert "found from the half-maps" in page


def test_the_table_has_a_curve_for_every_mask(result: tuple[dict[str, Any], Path]) -> None:
    with (result[1] / "fsc.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"unmasked", "sphere", "loose", "tight", "randomised", "corrected"} < set(rows[0])
    assert len(rows) == BOX // 2 + 1


def test_sums_give_the_map_again(result: tuple[dict[str, Any], Path]) -> None:
    """For other regularisations later, as cryoDRGN's do."""
    found, out = result
    arrays = read_arrays(out / "sums.npz")
    real, imaginary, count = (
        arrays[f"half1_{part}"].astype(np.float64) + arrays[f"half2_{part}"] for part in ("real", "imaginary", "count")
    )
    weight = found["options"]["regularisation"]
    spectrum = (real + 1j * imaginary) / ((count + weight * count.mean()) / (1 + weight))
    volume = np.fft.fftshift(np.fft.irfftn(spectrum))
    centre = slice(6, 18)
    written = read_back(out / "backproject.mrc")[centre, centre, centre]
    assert correlation(torch.from_numpy(volume[centre, centre, centre]), written) > 0.99


def test_half_maps_are_left_out_on_demand(table: Path, tmp_path: Path) -> None:
    found, _ = run_map_job(
        KIND, tmp_path / "out", {"particles": table}, {"half_maps": False, "first": 60, "ctf_alg": "mul", "D": 16}
    )
    assert "half1.mrc" not in found["outputs"]
    assert found["metrics"]["images"] == 60
    assert found["metrics"]["voxel_size_A"] == pytest.approx(6.0 * BOX / 16)


def test_noise_gives_maps_and_no_resolution(particles: SimulatedParticles, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = replace(particles, images=rng.standard_normal(particles.images.shape).astype(np.float32))
    found, _ = run_map_job(KIND, tmp_path / "out", {"particles": noise.write(tmp_path / "noise")})
    assert found["metrics"]["resolution_A"] is None
    assert found["metrics"]["poses_fit"] is False
    assert {"backproject.mrc", "half1.mrc", "half2.mrc"} < set(found["outputs"])
    assert any("do not fit" in line for line in found["statements"])
    assert "Poses or CTF do not fit these images" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize("fit", [True, None])
def test_only_poses_that_were_found_not_to_fit_are_called_so(fit: bool | None) -> None:
    images = cast(StreamedImages, SimpleNamespace(poses_fit=fit, probe=ImageProbe(8, 0.1, (0.1, 0.1), 0.5, 0.1, 0.1)))
    found = cast(Backprojected, SimpleNamespace(resolution_A=math.inf))
    verdict = judged(images, found)
    assert (verdict.words, verdict.colour) == ("Look closer", "careful")
    assert "too few images" in " ".join(verdict.reasons)


def test_dark_particles_give_positive_density(particles: SimulatedParticles, tmp_path: Path) -> None:
    dark = replace(particles, images=-particles.images)
    found, _ = run_map_job(KIND, tmp_path / "out", {"particles": dark.write(tmp_path / "dark")})
    assert found["metrics"]["contrast"] == "dark"
    volume = read_back(tmp_path / "out/backproject.mrc")
    assert correlation(volume, torch.from_numpy(particles.volume(0.5))) > 0.9


def test_images_without_poses_are_refused_and_nothing_is_written(
    particles: SimulatedParticles, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputInvalid, match="poses"):
        run_map_job(KIND, tmp_path / "out", {"particles": table.with_name("particles.mrcs")})
    assert not (tmp_path / "out").exists()


def test_one_image_makes_no_half_maps(table: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array([3]))
    with pytest.raises(InputInvalid, match="1 images make no two half-maps"):
        run_map_job(KIND, tmp_path / "out", {"particles": table, "selection": tmp_path / "one.npy"})


def test_images_of_one_particle_alone_make_no_half_maps(
    particles: SimulatedParticles, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.zeros(COUNT)
    whole = nothing.astype(np.int64)
    series = replace(particles.particle_set(table), half=whole, tilts=TiltColumns(whole, nothing, nothing))
    monkeypatch.setattr(job, "read_particles", lambda *_, **__: series)
    with pytest.raises(InputInvalid, match="all images are of one particle, which makes no two half-maps; give more"):
        run_map_job(KIND, tmp_path / "out", {"particles": table})
    assert not (tmp_path / "out").exists()


def test_images_of_one_particle_are_in_one_half() -> None:
    particle = torch.tensor([4, 4, 9, 9, 9, 2, 2])
    half, source = half_sets_of(torch.zeros(7, dtype=torch.long), particle, "table")
    assert source == "alternate"
    assert half.tolist() == [1, 1, 0, 0, 0, 0, 0]
    half, source = half_sets_of(torch.tensor([1, 2, 2]), torch.arange(3), "table")
    assert (half.tolist(), source) == ([0, 1, 1], "table")
    assert half_sets_of(torch.tensor([1, 2, 2]), torch.arange(3), "alternate")[0].tolist() == [0, 1, 0]


def test_tilts_are_counted_by_dose_and_weighted(particles: SimulatedParticles, table: Path) -> None:
    tilts = TiltColumns(
        np.repeat(np.arange(COUNT // 4), 4), np.tile([3.0, 0.0, -3.0, 6.0], COUNT // 4), np.tile([9.0, 3, 12, 6], 60)
    )
    assert order_within(tilts)[:8].tolist() == [2, 0, 3, 1, 2, 0, 3, 1]
    series = replace(particles.particle_set(table), tilts=tilts)
    kept = with_tilts(series, BackprojectOptions(tilts_per_particle=2))
    assert kept.number[:4].tolist() == [1, 3, 5, 7]
    given = with_tilts(series, BackprojectOptions(dose_per_tilt_e_A2=2.0, angle_per_tilt_deg=3.0))
    assert given.tilts is not None
    assert given.tilts.dose_e_A2[:4].tolist() == [4.0, 0.0, 6.0, 2.0]
    assert given.tilts.tilt_deg[:4].tolist() == [3.0, 0.0, 6.0, 3.0]
    damped = replace(series.ctf, scale=0.5 * series.ctf.scale) if series.ctf is not None else None
    for used, scale in ((True, 1.0), (False, 0.5)):
        chosen = with_tilts(replace(series, ctf=damped), BackprojectOptions(tilt_weights=used))
        assert chosen.ctf is not None
        assert chosen.ctf.scale[0] == scale
    weights = weights_of(given, np.arange(4), half_disc(BOX), 6.0)
    assert weights is not None
    assert float(weights[1].min()) == 1
    assert bool((weights[[0, 2, 3]] < 1).all())


def test_options_of_tilt_series_without_any_are_refused(particles: SimulatedParticles, table: Path) -> None:
    with pytest.raises(InputInvalid, match="tilts_per_particle means nothing"):
        with_tilts(particles.particle_set(table), BackprojectOptions(tilts_per_particle=2))
    assert weights_of(particles.particle_set(table), np.arange(4), half_disc(BOX), 6.0) is None


def test_memory_follows_the_box() -> None:
    spec = {"schema": "cryobridge/job/1", "kind": KIND, "inputs": {"particles": "/a.star"}, "output": "/out"}
    small, usual = (parse_job({**spec, "options": options}, "test") for options in ({"box": 64}, {}))
    assert (small.own_box("cpu"), usual.own_box("cpu")) == (64, 256)


@pytest.mark.shared
def test_simulated_tilt_images_of_a_ribosome_come_out_dark_and_fitting(shared: Path, tmp_path: Path) -> None:
    """Stacks of another program's tests: class D and class E, phase shift of a plate, contrast not said."""
    for name in ("10076_both_32_sim.star", "10076_classD_32_sim.mrcs", "10076_classE_32_sim.mrcs"):
        packed = shared / "data/heterogeneity/tomodrgn_10076" / f"{name}.gz"
        (tmp_path / name).write_bytes(gzip.decompress(packed.read_bytes()))
    found, _ = run_map_job(
        KIND, tmp_path / "out", {"particles": tmp_path / "10076_both_32_sim.star", "datadir": tmp_path}
    )
    assert found["metrics"]["poses_fit"] is True
    assert found["metrics"]["contrast"] == "dark"
    assert found["metrics"]["voxel_size_A"] == pytest.approx(13.1)
