"""Inputs made after public bug reports (`../shared/data/reports`): each command does what its README calls right."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.map_jobs import read_back, run_map_job

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.acceptance, pytest.mark.shared]

QUICK = {"steps": 2, "preset": "tiny", "cube_size": 16, "crop_size": 32, "batch": 1}
Report = Callable[..., tuple[dict[str, Any], list[str], Path]]


@pytest.fixture
def report(shared: Path, tmp_path: Path) -> Report:
    """Runs a job on the files of one folder; returns its result, what it said, and where it left it."""
    numbers = itertools.count(1)

    def run(folder: str, kind: str, files: dict[str, str], **options: Any) -> tuple[dict[str, Any], list[str], Path]:
        there = shared / "data" / "reports" / folder
        if not there.is_dir():
            pytest.skip(f"data/reports/{folder} is not in the shared data folder")
        output = tmp_path / f"out{next(numbers)}"
        inputs = {key: there / file for key, file in files.items()}
        return *run_map_job(kind, output, inputs, options), output

    return run


def pair(mask: str | None = None, *, half1: str = "half1", half2: str = "half2") -> dict[str, str]:
    files = {"half1": f"{half1}.mrc.gz", "half2": f"{half2}.mrc.gz"}
    return files if mask is None else {**files, "mask": f"{mask}.mrc.gz"}


def words(result: dict[str, Any]) -> str:
    return " ".join(result["statements"])


@pytest.mark.parametrize("mask", ["mask_minus128_minus127", "mask_0_255"])
def test_masks_of_two_bytes_are_taken_as_0_and_1(report: Report, shared: Path, tmp_path: Path, mask: str) -> None:
    result, said, _ = report("byte-masks-called-empty", "map.fsc3d", pair(mask))
    assert any(mask in line and "taken as 0 and 1" in line for line in said)
    assert "taken as 0 and 1" in words(result)
    stored = mrc.read(shared / "data" / "reports" / "byte-masks-called-empty" / f"{mask}.mrc.gz")[0]
    inside = stored != np.median(stored[0])
    assert 0.01 < inside.mean() < 0.5
    mrc.write_atomically(tmp_path / "as_float.mrc", inside.astype(np.float32), 2.0)
    expected, _, _ = report("byte-masks-called-empty", "map.fsc3d", {**pair(), "mask": str(tmp_path / "as_float.mrc")})
    assert result["metrics"] == expected["metrics"]


def test_an_fsc_is_read_beyond_a_dip(report: Report) -> None:
    result, _, output = report("fsc-dips-and-rises", "map.fsc3d", pair())
    with (output / "fsc.csv").open() as file:
        curve = [float(row["fsc"]) for row in csv.DictReader(file)]
    assert min(curve[1:6]) < 0.143 < 0.8 < max(curve[3:6])
    assert result["metrics"]["resolution_A"] == pytest.approx(48 / 7, rel=0.2)
    assert "dips below 0.143 at 24 A (shell 2)" in words(result)
    # A cone of so small a box holds few voxels, and its curve is noisy; but none is read at the dip.
    assert result["metrics"]["best_direction_A"] <= result["metrics"]["worst_direction_A"] < 24.0


def test_postprocessing_goes_beyond_a_dip(report: Report) -> None:
    result, _, output = report("fsc-dips-and-rises", "map.postprocess", pair())
    assert 6.0 <= result["metrics"]["resolution_A"] <= 48 / 6
    assert "dips below 0.143" in words(result)
    assert bool(read_back(output / "postprocessed.mrc").isfinite().all())


@pytest.mark.parametrize("kind", ["map.fsc3d", "map.postprocess", "map.correct", "map.diagnose"])
def test_a_half_map_on_another_scale_is_refused_as_the_same_map(report: Report, kind: str) -> None:
    with pytest.raises(InputInvalid, match="hold the same map"):
        report("half-maps-not-independent", kind, pair("mask", half2="half1_times_2"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("map.postprocess", {"sharpening": "none"}), ("map.fsc3d", {}), ("map.diagnose", {}), ("map.correct", QUICK)],
)
def test_a_half_map_against_the_full_map_is_said_not_to_be_independent(
    report: Report, kind: str, options: dict[str, Any]
) -> None:
    result, _, _ = report("half-maps-not-independent", kind, pair("mask", half2="full_map"), **options)
    assert "may not be two independent half-maps" in words(result)
    assert "levels off at 0.7" in words(result)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("map.fsc3d", {"limit_res": 1.0}),
        ("map.correct", {"limit_res": 1.0, **QUICK}),
        ("map.diagnose", {"limit_resolution_A": 1.0}),
        ("map.postprocess", {"low_pass": 1.0}),
        ("map.fsc3d", {"limit_res": 100.0}),
        ("map.correct", {"limit_res": 100.0, **QUICK}),
        ("map.diagnose", {"limit_resolution_A": 100.0}),
        ("map.postprocess", {"low_pass": 100.0}),
    ],
)
def test_limits_that_no_map_can_hold_are_refused_before_anything_is_written(
    report: Report, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    folder = "limit-coarser-than-box" if 100.0 in options.values() else "limit-beyond-nyquist"
    with pytest.raises(InputInvalid, match=r"not between 48 A \(its box\) and 4 A \(Nyquist\)"):
        report(folder, kind, pair("mask"), **options)
    assert not list(tmp_path.glob("out*/*"))


@pytest.mark.parametrize("options", [{"high_res": 1.0}, {"low_res": 100.0, "high_res": 5.0}])
def test_whitening_has_the_same_rule(report: Report, options: dict[str, float]) -> None:
    with pytest.raises(InputInvalid, match=r"not between 48 A \(its box\) and 4 A \(Nyquist\)"):
        report("limit-beyond-nyquist", "map.whiten", {"map": "half1.mrc.gz"}, **options)


def test_filtered_halves_have_no_resolution_beyond_the_filter(report: Report) -> None:
    for kind, options in (("map.fsc3d", {}), ("map.postprocess", {"sharpening": "none"}), ("map.diagnose", {})):
        result, _, _ = report("low-passed-half-maps", kind, pair("mask"), **options)
        assert "nothing beyond 9.6 A" in words(result)
        assert "unfiltered half-maps" in words(result)
        assert result["metrics"]["resolution_A"] >= 9.59
        assert result["metrics"].get("limit_resolution_A", 9.6) >= 9.59


def test_a_limit_beyond_the_filter_is_taken_at_the_filter(report: Report) -> None:
    result, _, _ = report("low-passed-half-maps", "map.correct", pair("mask"), limit_res=5.0, **QUICK)
    assert result["metrics"]["limit_resolution_A"] == pytest.approx(9.6)
    assert result["options"]["limit_resolution_A"] == pytest.approx(9.6)


@pytest.mark.parametrize(
    ("ending", "position"),
    [("", mrc.MapPosition((-12, -12, -12))), ("_origin", mrc.MapPosition(origin_A=(88.0, 96.0, 104.0)))],
)
def test_maps_keep_where_they_lie(report: Report, ending: str, position: mrc.MapPosition) -> None:
    files = pair(f"mask{ending}", half1=f"half1{ending}", half2=f"half2{ending}")
    half1, half2 = files["half1"], files["half2"]
    runs = [report("map-origin-lost", "map.postprocess", files, sharpening="none")]
    if not ending:
        runs += [
            report("map-origin-lost", "map.whiten", {"map": half1}, high_res=5.0),
            report("map-origin-lost", "map.lowpass", {"map": half1}, resolution_A=8.0),
            report("map-origin-lost", "map.combine", {"low": half1, "high": half2}, threshold_res=12.0),
            report("map-origin-lost", "map.correct", files, postprocess=True, ensemble=2, **QUICK),
        ]
    for result, _, output in runs:
        for name in (name for name in result["outputs"] if name.endswith(".mrc")):
            expected = mrc.AT_ZERO if name == "FSC3D.mrc" else position
            assert mrc.read_header(output / name).position == expected, (result["kind"], name)


@pytest.mark.parametrize("kind", ["map.correct", "map.fsc3d"])
def test_a_mask_of_one_voxel_is_refused(report: Report, tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputInvalid, match="covers 1 of 13824 voxels"):
        report("mask-of-one-voxel", kind, pair("mask"))
    assert not list(tmp_path.glob("out*/*"))


@pytest.mark.parametrize("name", ["relion3_3d", "optics_dimensionality_3"])
def test_older_subtomograms_are_told_from_particles(report: Report, name: str) -> None:
    with pytest.raises(InputInvalid, match="holds subtomograms"):
        sampling(report, "older-subtomograms-taken-for-particles", f"{name}.star")


@pytest.mark.parametrize("name", ["class2d.star", "unset.star", "zero_pose.cs"])
def test_particles_without_3d_angles_are_refused(report: Report, name: str) -> None:
    with pytest.raises(InputInvalid, match="not aligned in 3D"):
        sampling(report, "particles-never-aligned-in-3d", name)


def test_names_are_no_words_of_the_format(report: Report) -> None:
    found = [
        sampling(report, "star-with-reserved-words", f"{name}.star")["metrics"]
        for name in ("data", "underscore", "hash", "hash_in_last_column")
    ]
    assert [one["particles"] for one in found] == [300] * 4
    assert all(one == found[0] for one in found)


def test_a_star_file_without_a_last_newline_is_read(report: Report) -> None:
    found = sampling(report, "star-without-last-newline", "particles.star")["metrics"]
    same = sampling(report, "star-with-reserved-words", "data.star")["metrics"]
    assert found == same


def sampling(report: Report, folder: str, name: str) -> dict[str, Any]:
    return report(folder, "map.sampling", {"particles": name}, map_dim=32, apix=2.0)[0]


@pytest.mark.parametrize(
    ("kind", "options"), [("map.fsc3d", {}), ("map.diagnose", {}), ("map.postprocess", {"sharpening": "none"})]
)
def test_unsigned_halves_read_as_the_same_numbers_about_0(report: Report, kind: str, options: dict[str, Any]) -> None:
    folder = "unsigned-16-bit-half-maps"
    stored, _, _ = report(folder, kind, pair("mask"), **options)
    about_0, _, _ = report(folder, kind, pair("mask", half1="half1_as_float", half2="half2_as_float"), **options)
    assert about_0["metrics"]["resolution_A"] == pytest.approx(6.0, rel=0.2)
    for name, value in about_0["metrics"].items():
        same = value if value is None else pytest.approx(value, rel=1e-3, abs=1e-3)
        assert stored["metrics"][name] == same, name
    assert "its solvent lies at 2" in words(stored)
    assert "its solvent" not in words(about_0)


def test_unsigned_halves_are_corrected_to_the_same_limit(report: Report) -> None:
    folder = "unsigned-16-bit-half-maps"
    stored, _, there = report(folder, "map.correct", pair("mask"), **QUICK)
    floats = pair("mask", half1="half1_as_float", half2="half2_as_float")
    about_0, _, here = report(folder, "map.correct", floats, **QUICK)
    assert stored["metrics"]["limit_resolution_A"] == pytest.approx(about_0["metrics"]["limit_resolution_A"])
    one, two = (read_back(folder / "corrected.mrc") for folder in (there, here))
    assert np.corrcoef(one.flatten(), two.flatten())[0, 1] > 0.99


@pytest.mark.parametrize(("ending", "size"), [("", "0.0833"), ("_sampling_1", "48")])
def test_impossible_voxel_sizes_are_refused_and_mended_by_an_option(report: Report, ending: str, size: str) -> None:
    files = pair(half1=f"half1{ending}", half2=f"half2{ending}")
    with pytest.raises(InputInvalid, match=rf"voxels of {size} A .*perhaps 2\b"):
        report("voxel-size-impossible", "map.fsc3d", files)
    result, _, output = report("voxel-size-impossible", "map.fsc3d", files, apix=2.0)
    assert result["metrics"]["voxel_size_A"] == result["options"]["voxel_size_A"] == 2.0
    assert result["metrics"]["resolution_A"] == pytest.approx(6.86, rel=0.2)
    assert mrc.read_header(output / "FSC3D.mrc").voxel_size_A == (2.0, 2.0, 2.0)
