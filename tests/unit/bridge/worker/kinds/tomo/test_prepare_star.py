"""`tomo.prepare_star` as the job runner does it: what is in folders, headers and tilt angles, as one table."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from support.map_jobs import run_map_job
from support.tomogram_files import with_cell, write_measured, write_tilts, write_tomogram

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table

KIND = "tomo.prepare_star"


def run(tmp_path: Path, inputs: dict[str, Path] | None = None, **options: Any) -> tuple[list[Tomogram], dict[str, Any]]:
    result, _ = run_map_job(KIND, tmp_path / "out", inputs or {"folder": tmp_path / "tomograms"}, options)
    return list(read_tomogram_table(tmp_path / "out" / "tomograms.star").tomograms), result


def warp_xml(angles_deg: list[float], defocus_um: list[float]) -> str:
    nodes = "".join(f'<Node X="0" Y="0" Z="{at}" Value="{one}"/>' for at, one in enumerate(defocus_um))
    lines = "\n".join(str(one) for one in angles_deg)
    return f"<TiltSeries AreAnglesInverted='True'><Angles>{lines}</Angles><GridCTF>{nodes}</GridCTF></TiltSeries>"


def test_a_folder_becomes_the_table_of_isonet(tmp_path: Path) -> None:
    for name in ("b.rec", "a.mrc", "notes.txt", ".hidden.mrc"):
        write_tomogram(tmp_path / "tomograms" / name, voxel_size_A=13.6)
    (first, second), result = run(tmp_path)
    text = (tmp_path / "out" / "tomograms.star").read_text()
    labels = [line.split()[0] for line in text.splitlines() if line.startswith("_")]
    assert labels == [
        "_rlnIndex",
        "_rlnMicrographName",
        "_rlnPixelSize",
        "_rlnDefocus",
        "_rlnNumberSubtomo",
        "_rlnMaskBoundary",
    ]
    assert [first.full, second.full] == [tmp_path / "tomograms" / name for name in ("a.mrc", "b.rec")]
    assert (first.index, first.defocus_A) == ("1", 0)
    assert first.pixel_size_A == pytest.approx(13.6)
    assert (first.number_subtomos, first.mask_boundary, first.tilt_min_deg, first.voltage_kV) == (100, None, None, None)
    assert result["metrics"]["tomograms"] == 2


def test_isonets_own_names_of_options_are_taken(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "tomograms" / "a.mrc")
    options: dict[str, Any] = {
        "pixel_size": 8,
        "defocus": 38000,
        "voltage": 200,
        "cs": 1.4,
        "ac": 0.07,
        "tilt_min": -40,
        "tilt_max": 55,
    }
    (one,), result = run(tmp_path, **options, number_subtomos=50)
    assert (one.pixel_size_A, one.defocus_A, one.voltage_kV, one.spherical_aberration_mm) == (8, 38000, 200, 1.4)
    assert (one.amplitude_contrast, one.tilt_min_deg, one.tilt_max_deg, one.number_subtomos) == (0.07, -40, 55, 50)
    assert any("8 A was given" in line for line in result["statements"])


def test_a_list_of_defoci_is_one_for_each_tomogram(tmp_path: Path) -> None:
    for name in ("a.mrc", "b.mrc"):
        write_tomogram(tmp_path / "tomograms" / name)
    assert [one.defocus_A for one in run(tmp_path, defocus="30000,25000")[0]] == [30000, 25000]


def test_halves_are_paired_by_name(tmp_path: Path) -> None:
    for number in ("01", "10"):
        write_tomogram(tmp_path / "EVN" / f"TS_{number}_EVN.mrc")
        write_tomogram(tmp_path / "ODD" / f"TS_{number}_ODD.mrc")
        write_tomogram(tmp_path / "tomograms" / f"TS_{number}.mrc")
    halves = {"folder": tmp_path / "EVN", "odd": tmp_path / "ODD"}
    rows, result = run(tmp_path, halves)
    assert [(one.full, one.half1, one.half2) for one in rows] == [
        (None, tmp_path / "EVN" / f"TS_{number}_EVN.mrc", tmp_path / "ODD" / f"TS_{number}_ODD.mrc")
        for number in ("01", "10")
    ]
    assert result["metrics"]["with_halves"] == 2
    (tmp_path / "all").mkdir()
    three = {"folder": tmp_path / "tomograms", "even": tmp_path / "EVN", "odd": tmp_path / "ODD"}
    rows, _ = run(tmp_path / "all", three)
    assert [one.full for one in rows] == [tmp_path / "tomograms" / f"TS_{number}.mrc" for number in ("01", "10")]
    (tmp_path / "ODD" / "TS_10_ODD.mrc").unlink()
    with pytest.raises(InputInvalid, match=r"TS_10_EVN\.mrc: has no odd half"):
        run(tmp_path / "more", three)


def test_tilt_angles_masks_and_boundaries_are_found_by_name(tmp_path: Path) -> None:
    for name in ("rec_TS_1.mrc", "rec_TS_10.mrc"):
        write_tomogram(tmp_path / "tomograms" / name)
    write_tilts(tmp_path / "tilts" / "TS_1.rawtlt", -60, 60)
    write_tilts(tmp_path / "tilts" / "TS_1.tlt", -51, 60)
    (tmp_path / "tilts" / "TS_10.xml").write_text(warp_xml([48.0, 0.0, -57.0], [2.0, 3.1, 4.0]))
    write_tomogram(tmp_path / "masks" / "rec_TS_1_mask.mrc")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "TS_10.mod").write_bytes(b"IMODV1.2")
    inputs = {
        "folder": tmp_path / "tomograms",
        "tilt_folder": tmp_path / "tilts",
        "mask_folder": tmp_path / "masks",
        "boundary_folder": tmp_path / "models",
    }
    (one, ten), _ = run(tmp_path, inputs)
    assert (one.tilt_min_deg, one.tilt_max_deg, len(one.tilt_angles_deg or ())) == (-51, 60, 38)
    assert (ten.tilt_min_deg, ten.tilt_max_deg, ten.tilt_angles_deg) == (-48, 57, (-48, 0, 57))
    assert (one.defocus_A, ten.defocus_A) == (0, 31000)
    assert (one.mask, ten.mask) == (tmp_path / "masks" / "rec_TS_1_mask.mrc", None)
    assert (one.mask_boundary, ten.mask_boundary) == (None, tmp_path / "models" / "TS_10.mod")
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("-51 degrees, -48 degrees", "31000 A", "tlt, warp_xml"):
        assert words in page


def test_signs_and_a_pretilt_are_the_users_to_say(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "tomograms" / "TS_1.mrc")
    write_tilts(tmp_path / "tilts" / "TS_1.tlt", -51, 60)
    inputs = {"folder": tmp_path / "tomograms", "tilt_folder": tmp_path / "tilts"}
    (one,), _ = run(tmp_path, inputs, mirrored=True, pretilt=-9, tilt_pattern="*.tlt")
    assert (one.tilt_min_deg, one.tilt_max_deg) == (-51, 60)
    (tmp_path / "more").mkdir()
    (one,), _ = run(tmp_path / "more", inputs, pretilt=-9, tilt_max=40)
    assert (one.tilt_min_deg, one.tilt_max_deg) == (-60, 40)


def test_the_data_say_whether_axis_and_sign_of_the_range_are_right(tmp_path: Path) -> None:
    write_measured(tmp_path / "tomograms" / "a.mrc", -45, 60)
    _, result = run(tmp_path, tilt_min=-45, tilt_max=60)
    assert result["metrics"]["wedge_seen"] == 1
    assert "as the data have it" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(InputInvalid, match=r"as tilts of -45 to 60 degrees leave it, not of -60 to 45"):
        run(tmp_path / "turned", {"folder": tmp_path / "tomograms"}, tilt_min=-60, tilt_max=45)
    _, result = run(tmp_path / "b", {"folder": tmp_path / "tomograms"}, tilt_min=-60, tilt_max=45, check_wedge=False)
    assert result["metrics"]["wedge_seen"] == 0
    write_measured(tmp_path / "tomograms" / "x.mrc", -60, 60, axis="x")
    with pytest.raises(InputInvalid, match=r"x\.mrc: its empty wedge lies about the x axis"):
        run(tmp_path / "axis", {"folder": tmp_path / "tomograms"})
    assert not (tmp_path / "axis").exists()


@pytest.mark.parametrize("edges", [(0, 0, 0), (10, 12, 8)])
def test_a_header_that_knows_no_voxel_size_is_not_believed(tmp_path: Path, edges: tuple[float, ...]) -> None:
    with_cell(write_tomogram(tmp_path / "tomograms" / "a.mrc"), *edges)
    with pytest.raises(InputInvalid, match=r"a.mrc: its header has . x . x . A .* give 'pixel_size_A'"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    assert run(tmp_path, pixel_size=12)[0][0].pixel_size_A == 12


@pytest.mark.parametrize("size_A", [1.36, 136.0])
def test_a_voxel_size_of_another_unit_is_questioned(tmp_path: Path, size_A: float) -> None:
    write_tomogram(tmp_path / "tomograms" / "a.mrc", voxel_size_A=size_A)
    assert any("nanometres" in line for line in run(tmp_path)[1]["statements"])


def test_files_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "tomograms" / "a.mrc")
    write_tomogram(tmp_path / "tomograms" / "flat.mrc", (1, 12, 10))
    whole = (tmp_path / "tomograms" / "a.mrc").read_bytes()
    (tmp_path / "tomograms" / "cut.mrc").write_bytes(whole[:1500])
    (tmp_path / "tomograms" / "packed.rec.gz").write_bytes(gzip.compress(whole))
    rows, result = run(tmp_path)
    assert [one.name for one in rows] == ["a"]
    left_out = [line for line in result["statements"] if "Left out" in line]
    assert len(left_out) == 3
    assert any("packed.rec.gz: is packed" in line for line in left_out)


def test_a_tomogram_as_imod_makes_it_before_it_is_turned_is_questioned(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "tomograms" / "a.rec", (24, 8, 24))
    assert any("trimvol -rx" in line for line in run(tmp_path)[1]["statements"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"defocus": 3.8}, "micrometres"),
        ({"defocus": -38000}, "overfocus"),
        ({"defocus": "1e4,2e4"}, "2 numbers for 1 tomograms"),
    ],
)
def test_a_defocus_that_cannot_be_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    write_tomogram(tmp_path / "tomograms" / "a.mrc")
    with pytest.raises(InputInvalid, match=said):
        run(tmp_path, **options)


def test_empty_folders_and_names_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tomograms").mkdir()
    with pytest.raises(InputInvalid, match="holds no tomograms"):
        run(tmp_path)
    write_tomogram(tmp_path / "tomograms" / "a.mrc")
    write_tilts(tmp_path / "tilts" / "TS_1.tlt")
    with pytest.raises(InputInvalid, match="is named as a tomogram is"):
        run(tmp_path, {"folder": tmp_path / "tomograms", "tilt_folder": tmp_path / "tilts"})
    with pytest.raises(InputInvalid, match="see 'tilt_pattern'"):
        run(tmp_path, {"folder": tmp_path / "tomograms", "tilt_folder": tmp_path / "tilts"}, tilt_pattern="*.aln")


def test_tomograms_and_halves_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "EVN" / "a.mrc")
    write_tomogram(tmp_path / "ODD" / "a.mrc", (8, 12, 12))
    with pytest.raises(InputInvalid, match=r"12 x 12 x 8 voxels, a\.mrc 10 x 12 x 8"):
        run(tmp_path, {"folder": tmp_path / "EVN", "odd": tmp_path / "ODD"})


@pytest.mark.parametrize("name", ["../tomo.star", "tomo.txt", ".tomo.star", "tomo\n.star", "job.star"])
def test_the_table_has_a_plain_name(name: str) -> None:
    spec = {"schema": "cryobridge/job/1", "kind": KIND, "inputs": {"folder": "/a"}, "output": "/b"}
    with pytest.raises(InputInvalid, match="no name of a STAR file"):
        parse_job({**spec, "options": {"output_star": name}}, "job")
