"""`map.diagnose` finds the bad cone of a simulated pair, says what a correction changed, and tests a network."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.map_jobs import read_back, run_map_job, write_maps

from cryobridge.core.correction import CorrectionState
from cryobridge.core.directional.correlation import conical_fsc
from cryobridge.core.fourier import apply_filter, expand, forward, inverse, radial_sum
from cryobridge.core.volume import phantom
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow

N, VOXEL_A = 40, 2.0


@pytest.fixture(scope="module")
def pair() -> phantom.PhantomPair:
    return phantom.phantom_pair(N, VOXEL_A, 5.0, inside=0.05)


@pytest.fixture
def files(pair: phantom.PhantomPair, tmp_path: Path) -> dict[str, Path]:
    return write_maps(tmp_path, VOXEL_A, half1=pair.half1, half2=pair.half2, mask=pair.mask)


def columns(path: Path) -> dict[str, list[float]]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def star_of_side_views(path: Path, count: int, first: int) -> Path:
    """The first so many of a full circle of side views."""
    rows = "\n".join(f"{360 * i / count:.4f} 90.0 0.0" for i in range(first))
    path.write_text(f"\ndata_particles\n\nloop_\n_rlnAngleRot #1\n_rlnAngleTilt #2\n_rlnAnglePsi #3\n{rows}\n")
    return path


def polar_deg(xyz: list[float]) -> float:
    return math.degrees(math.acos(min(1.0, abs(xyz[2]))))


@dataclass
class Run:
    """A job that was run, with all that a diagnosis can be given."""

    folder: Path
    result: dict[str, Any]
    said: list[str]

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.result["metrics"])


@pytest.fixture(scope="module")
def whole(pair: phantom.PhantomPair, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A quarter of the side views under fourfold symmetry; the correction halves the amplitudes of the cone."""
    folder = tmp_path_factory.mktemp("whole")
    inside, _ = phantom.cone_regions(pair)
    gain = torch.where(inside, 0.5, 1.0)
    files = write_maps(
        folder,
        VOXEL_A,
        half1=pair.half1,
        half2=pair.half2,
        mask=pair.mask,
        corrected1=apply_filter(pair.half1, gain),
        corrected2=apply_filter(pair.half2, gain),
    )
    # An untrained network that starts as the identity: what it returns is what its weight leaves.
    untrained = CorrectionState.new(CorrectionOptions.for_device("cpu"), "cpu")
    files["network"] = folder / "network.safetensors"
    files["network"].write_bytes(safetensors.torch.save(untrained.tensors()))
    files["particles"] = star_of_side_views(folder / "particles.star", 4000, 1000)
    return Run(folder / "out", *run_map_job("map.diagnose", folder / "out", files, {"symmetry": "C4"}))


def test_all_tables_are_written(whole: Run) -> None:
    wanted = {
        "FSC3D.mrc",
        "fsc.csv",
        "directional.csv",
        "directional_fsc.csv",
        "change.csv",
        "views.csv",
        "controls.csv",
        "report.html",
    }
    assert set(whole.result["outputs"]) == wanted
    assert any("cFAR" in line for line in whole.said)
    assert any("independently" in line for line in whole.result["statements"])


def test_the_bad_cone_is_found(whole: Run) -> None:
    metrics = whole.metrics
    assert polar_deg(metrics["worst_direction_xyz"]) < 35
    assert polar_deg(metrics["best_direction_xyz"]) > 45
    assert metrics["worst_direction_A"] > 1.3 * metrics["best_direction_A"]
    assert metrics["best_direction_A"] <= metrics["percentile_5_direction_A"] <= metrics["median_direction_A"]
    assert metrics["cfar"] < 0.5
    table = columns(whole.folder / "directional.csv")
    assert min(table["resolution_A"]) == pytest.approx(metrics["best_direction_A"], abs=1e-3)
    assert max(table["area"]) == 1.0


def test_the_worst_curve_is_that_of_the_cone_about_the_worst_direction(pair: phantom.PhantomPair, whole: Run) -> None:
    axis = torch.tensor([whole.metrics["worst_direction_xyz"][::-1]])
    direct = conical_fsc(pair.half1, pair.half2, axis, pair.mask)[0]
    found = columns(whole.folder / "directional_fsc.csv")["worst"]
    # As the FSC over all directions it is less what the mask brings in.
    added = torch.tensor(columns(whole.folder / "fsc.csv")["randomised"]).clamp(min=0.0)
    added[: whole.metrics["randomised_from_shell"] + 2] = 0.0
    expected = (direct - added) / (1 - added)
    assert found[4:20] == pytest.approx(expected[4:20].tolist(), abs=0.03)


def test_the_3dfsc_lies_at_the_centre_of_its_box(whole: Run) -> None:
    volume, middle = read_back(whole.folder / "FSC3D.mrc"), N // 2
    assert volume[middle, middle, middle] == 1.0
    along = slice(middle + 4, middle + 9)
    assert volume[along, middle, middle].mean() < volume[middle, middle, along].mean() - 0.1


def test_views_of_particles_give_scf_star_under_their_symmetry(whole: Run) -> None:
    assert whole.metrics["scf_star"] == pytest.approx(8 / math.pi**2, abs=0.03)
    assert whole.metrics["unsampled_share"] == 0.0
    assert whole.metrics["views"] == 1000
    views = columns(whole.folder / "views.csv")
    densest = max(range(len(views["z"])), key=lambda i: views["density"][i])
    assert abs(views["z"][densest]) < 0.2
    assert "SCF*" in (whole.folder / "report.html").read_text()


def test_what_a_correction_changed_is_told_by_where(whole: Run) -> None:
    assert whole.metrics["power_changed_badly_measured"] > 0.1
    assert whole.metrics["power_changed_well_measured"] < 0.05
    changed = columns(whole.folder / "change.csv")
    assert changed["0-10_deg"][8] > 10 * changed["80-90_deg"][8]
    assert {"unmasked", "masked", "randomised", "corrected", "after_correction"} < set(
        columns(whole.folder / "fsc.csv")
    )
    assert "after_correction_fsc_0.143_A" in columns(whole.folder / "directional.csv")


def test_the_fsc_of_corrected_maps_is_never_called_resolution(whole: Run) -> None:
    page = (whole.folder / "report.html").read_text()
    assert "FSC after the correction: no resolution" in page
    assert any("is not a resolution" in line for line in whole.result["statements"])
    assert not any("after" in key and key.endswith("_A") for key in whole.metrics)


def test_a_network_that_does_nothing_invents_nothing(whole: Run) -> None:
    assert abs(whole.metrics["noise_fsc_before"]) < 0.1
    assert abs(whole.metrics["noise_fsc_after"]) < 0.1
    assert 0 < whole.metrics["noise_power_gain"] < 1
    assert whole.metrics["random_phases_fsc"] < 0.5 * whole.metrics["true_phases_fsc"]
    curves = columns(whole.folder / "controls.csv")
    assert max(c - t for c, t in zip(curves["corrected"], curves["true_phases"], strict=True)) < 1e-6


def test_a_point_group_that_the_maps_do_not_have_is_said(whole: Run) -> None:
    assert whole.metrics["symmetry"] == "lacks"
    assert any("do not have C4" in line for line in whole.result["statements"])
    assert "do not have C4" in (whole.folder / "report.html").read_text()


def other_density(pair: phantom.PhantomPair) -> torch.Tensor:
    """Another protein's density with the truth's power in each shell."""
    truth, other = (forward(one * pair.mask) for one in (pair.truth, phantom.phantom_pair(N, VOXEL_A, seed=99).truth))
    gain = (radial_sum(truth.abs().square(), N) / radial_sum(other.abs().square(), N)).sqrt()
    return inverse(other * expand(gain.float(), N), N)


@pytest.mark.parametrize("false", ["everywhere", "in the cone"])
def test_a_false_map_is_warned_of_and_a_true_one_is_not(
    pair: phantom.PhantomPair, files: dict[str, Path], tmp_path: Path, false: str
) -> None:
    inside, _ = phantom.cone_regions(pair)
    density, cone = other_density(pair), inside.float()
    made = {
        "everywhere": [half + density for half in (pair.half1, pair.half2)],
        "in the cone": [
            apply_filter(half, 1 - cone) + apply_filter(density, cone) for half in (pair.half1, pair.half2)
        ],
        "true": [pair.truth, pair.truth],
    }
    levels = {}
    for name in (false, "true"):
        corrected = write_maps(tmp_path, VOXEL_A, corrected1=made[name][0], corrected2=made[name][1])
        result, _ = run_map_job("map.diagnose", tmp_path / name, {**files, **corrected})
        levels[name] = result["metrics"]["consistency"]
        warned = [line for line in result["statements"] if "predicts the other half-map" in line]
        assert any("contradicts" in line for line in warned)
        page = (tmp_path / name / "report.html").read_text()
        assert "as it should be" not in page
    assert levels == {false: "contradicts", "true": "follows"}


def test_hold_out_and_controls_run_a_network_of_their_own(files: dict[str, Path], tmp_path: Path) -> None:
    del files["mask"]
    options = {"hold_out": True, "steps": 12, "seed": 3}
    result, said = run_map_job("map.diagnose", tmp_path / "out", files, options)
    metrics = result["metrics"]
    assert {"hold_out.csv", "controls.csv"} < set(result["outputs"])
    assert metrics["hold_out_steps"] == 12
    assert polar_deg(metrics["hold_out_direction_xyz"]) > 40
    curves = columns(tmp_path / "out" / "hold_out.csv")
    used = slice(5, 12)
    spoilt, whole = (sum(curves[name][used]) for name in ("halves_spoilt", "halves_as_measured"))
    assert spoilt < whole - 1.0
    assert 0 < metrics["hold_out_fsc_before"] < 1
    assert 0 < metrics["hold_out_fsc_after"] < 1
    assert abs(metrics["noise_fsc_before"]) < 0.1
    assert metrics["noise_power_gain"] > 0
    assert -1 <= metrics["random_phases_fsc"] <= metrics["true_phases_fsc"] <= 1
    assert any("training 12/12" in line for line in said)
    assert not list((tmp_path / "out").glob(".*.safetensors"))
    assert {"hold_out_half1.mrc", "hold_out_half2.mrc"} < set(result["outputs"])
    # No mask was given, which is said, and there is one curve only.
    assert set(columns(tmp_path / "out" / "fsc.csv")) == {"shell", "resolution_A", "unmasked"}
    assert any("No mask" in line for line in result["statements"])
    assert "No mask" in (tmp_path / "out" / "report.html").read_text()


def test_a_bad_input_leaves_nothing_behind(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.star").write_text("data_particles\n")
    (tmp_path / "bad.safetensors").write_text("no network\n")
    for name, path in (("particles", tmp_path / "bad.star"), ("network", tmp_path / "bad.safetensors")):
        with pytest.raises(InputInvalid, match=path.name):
            run_map_job("map.diagnose", tmp_path / "out", {**files, name: path})
        assert not (tmp_path / "out").exists()
