"""Tables of tomograms of IsoNet, IsoNet2 and RELION 5, read by label and written back whole."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.table import read_tomogram_table, update_table

ISONET = """data_

loop_
_rlnIndex #1
_rlnMicrographName #2
_rlnPixelSize #3
_rlnDefocus #4
_rlnNumberSubtomo #5
_rlnMaskBoundary #6
1 tomograms/a.mrc 10.000000 38000.000000 100 None
2 tomograms/b.rec 10.000000 0.000000 50 None
5 tomograms/c.mrc 10.000000 0.000000 50 None
"""
ISONET2 = """data_

loop_
_rlnIndex #1
_rlnTomoName #2
_rlnTomoReconstructedTomogramHalf1 #3
_rlnTomoReconstructedTomogramHalf2 #4
_rlnPixelSize #5
_rlnVoltage #6
_rlnSphericalAberration #7
_rlnAmplitudeContrast #8
_rlnTiltMin #9
_rlnTiltMax #10
_rlnBoxFile #11
_rlnNumberSubtomo #12
_rlnSomebodysOwn #13
1 None EVN/a.mrc ODD/a.mrc 8.5 300 2.7 0.1 -51 63 None 3000 '38 000'
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "tomograms.star"
    path.write_text(text)
    return path


def test_a_table_of_isonet_is_read_by_label(tmp_path: Path) -> None:
    one, two, five = read_tomogram_table(written(tmp_path, ISONET)).tomograms
    assert (one.row, one.index, one.full, one.name) == (0, "1", tmp_path / "tomograms/a.mrc", "a")
    assert (one.pixel_size_A, one.defocus_A, one.number_subtomos, one.mask_boundary) == (10, 38000, 100, None)
    assert (two.name, five.index, five.half1, five.tilt_min_deg, five.deconv) == ("b", "5", None, None, None)


def test_a_table_of_isonet2_has_halves_and_optics(tmp_path: Path) -> None:
    (one,) = read_tomogram_table(written(tmp_path, ISONET2)).tomograms
    assert (one.full, one.half1, one.half2) == (None, tmp_path / "EVN/a.mrc", tmp_path / "ODD/a.mrc")
    assert (one.voltage_kV, one.spherical_aberration_mm, one.amplitude_contrast) == (300, 2.7, 0.1)
    assert (one.tilt_min_deg, one.tilt_max_deg, one.box_file, one.name) == (-51, 63, None, "a")
    assert (one.values["rlnSomebodysOwn"], one.number("rlnPixelSize"), one.number("rlnNoSuch")) == ("38 000", 8.5, None)
    with pytest.raises(InputInvalid, match="row 1 has '38 000' as 'rlnSomebodysOwn'"):
        one.number("rlnSomebodysOwn")


@pytest.mark.parametrize("job", ["Denoise_job008", "CtfRefine_job067"])
def test_tomogram_sets_of_relion_5_are_read_and_kept(tmp_path: Path, shared: Path, job: str) -> None:
    folder = tmp_path / "project" / "Denoise" / "job008"
    folder.mkdir(parents=True)
    raw = (shared / "data" / "star" / "relion5_tomo" / f"{job}_tomograms.star").read_bytes()
    (folder / "tomograms.star").write_bytes(raw)
    half = tmp_path / "project" / "Tomograms" / "job006" / "tomograms" / "rec_TS_01_half1.mrc"
    half.parent.mkdir(parents=True)
    half.touch()
    table = read_tomogram_table(folder / "tomograms.star")
    first = table.tomograms[0]
    assert len(table.tomograms) == 5
    assert (first.full, first.half1, first.index, first.name) == (None, half, "1", "rec_TS_01_half1")
    assert first.pixel_size_A == pytest.approx(10, abs=1e-5)
    assert (first.voltage_kV, first.amplitude_contrast, first.defocus_A) == (300, 0.1, 0)
    new = table.with_values({2: {"rlnMaskName": "mask/a.mrc"}})
    assert next(line for line in new.splitlines() if b"TS_01" in line).startswith(
        next(line for line in raw.splitlines() if b"TS_01" in line).rstrip()
    )
    assert new.count(b"None") == 4


def test_indices_are_chosen_one_by_one_and_in_ranges(tmp_path: Path) -> None:
    table = read_tomogram_table(written(tmp_path, ISONET))
    for text, wanted in (("1,5", "15"), ("2-5", "25"), ("(1, 2)", "12"), ("2", "2"), (None, "125"), ("None", "125")):
        assert "".join(tomogram.index for tomogram in table.chosen(text)) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [("3", "index 3; its rlnIndex are 1, 2, 5"), ("7-9", "'7-9'"), ("a", "no list"), ("1-", "no list"), ("²", "list")],
)
def test_indices_that_are_none_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        read_tomogram_table(written(tmp_path, ISONET)).chosen(text)


def test_names_of_outputs_differ_where_stems_do_not(tmp_path: Path) -> None:
    text = ISONET.replace("tomograms/a.mrc", "one/rec.mrc").replace("tomograms/b.rec", "two/rec.mrc")
    names = [tomogram.name for tomogram in read_tomogram_table(written(tmp_path, text)).tomograms]
    assert names == ["one_rec", "two_rec", "c"]
    text = text.replace("two/rec.mrc", "one/rec.mrc")
    assert len({tomogram.name for tomogram in read_tomogram_table(written(tmp_path, text)).tomograms}) == 3


def test_the_file_of_a_user_is_merged_not_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, f"# mine\n{ISONET}\ndata_mine\n_a 1\n")
    path.chmod(0o640)
    before = read_tomogram_table(path)
    path.write_text(path.read_text().replace("1 tomograms/a.mrc 10.000000 38000.000000 100 None\n", ""))
    update_table(path, {0: {"rlnDefocus": "1"}, 1: {"rlnDefocus": "2"}, 2: {"rlnMaskName": "m.mrc"}}, before)
    text = path.read_text()
    assert text.startswith("# mine\n")
    assert text.endswith("data_mine\n_a 1\n")
    assert "2 tomograms/b.rec 10.000000 2 50 None None\n5 tomograms/c.mrc 10.000000 0.000000 50 None m.mrc\n" in text
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["tomograms.star"]


def test_a_link_to_a_table_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = written(tmp_path / "real", ISONET)
    (tmp_path / "link.star").symlink_to(path)
    update_table(tmp_path / "link.star", {0: {"rlnMaskName": "m.mrc"}})
    assert (tmp_path / "link.star").is_symlink()
    assert "m.mrc" in path.read_text()


def test_two_jobs_at_one_table_lose_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, ISONET)

    def add(label: str) -> None:
        for row in range(3):
            update_table(path, {row: {label: f"{label}{row}"}})

    threads = [threading.Thread(target=add, args=(label,)) for label in ("rlnA", "rlnB", "rlnC")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tomogram in read_tomogram_table(path).tomograms:
        assert [tomogram.values[label] for label in ("rlnA", "rlnB", "rlnC")] == [
            f"{label}{tomogram.row}" for label in ("rlnA", "rlnB", "rlnC")
        ]


def test_paths_are_found_from_folders_above_and_written_from_the_tables_own(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "tomograms").mkdir()
    (tmp_path / "tomograms" / "a.mrc").touch()
    table = read_tomogram_table(written(tmp_path / "job", ISONET))
    assert table.tomograms[0].full == tmp_path / "tomograms" / "a.mrc"
    assert table.tomograms[1].full == tmp_path / "job" / "tomograms" / "b.rec"
    assert table.path_text(tmp_path / "job" / "mask" / "a.mrc", table.path) == "mask/a.mrc"
    assert table.path_text(tmp_path / "a.mrc", table.path) == str(tmp_path / "a.mrc")


def test_a_table_that_moves_takes_its_paths_along(tmp_path: Path) -> None:
    (tmp_path / "data" / "tomograms").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("a.mrc", "b.rec"):
        (tmp_path / "data" / "tomograms" / name).touch()
    table = read_tomogram_table(written(tmp_path / "data", ISONET))
    moved = tmp_path / "out" / "tomograms.star"
    moved.write_bytes(table.with_values({0: {"rlnMaskName": "a_mask.mrc"}}, at=moved))
    again = read_tomogram_table(moved)
    assert [tomogram.full for tomogram in again.tomograms] == [tomogram.full for tomogram in table.tomograms]
    assert again.tomograms[0].mask == tmp_path / "out" / "a_mask.mrc"
    inside = tmp_path / "data" / "job1" / "tomograms.star"
    assert table.with_values({}, at=inside) == table.path.read_bytes().replace(
        b"tomograms/c.mrc", str(tmp_path / "data" / "tomograms" / "c.mrc").encode()
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("38000.000000", "3.8um", "row 1 has '3.8um' as 'rlnDefocus', which is no number"),
        ("tomograms/b.rec", "None", "row 2 names no tomogram"),
        ("_rlnMicrographName", "_rlnImage", "holds no table of tomograms"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        read_tomogram_table(written(tmp_path, ISONET.replace(old, new)))


def test_a_table_that_is_not_there_or_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="No such file"):
        read_tomogram_table(tmp_path / "none.star")
    with pytest.raises(InputInvalid, match="update_star"):
        update_table(tmp_path / "no" / "none.star", {})
