"""STAR tables: rows are counted, damage is named, and nothing stays in the process from one reading to the next."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import starfile

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import star

TEXT = """
# version 50001

data_general

_rlnBox          64
_rlnPixel        2.800000
_rlnName         Refine3D/job001/run_it003.mrc


data_table

loop_
_rlnSpectralIndex #1
_rlnTau2 #2
           0     0.998209
           1     6.757812
           2     1e-05

"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run.star").write_text(TEXT)
    return tmp_path / "run.star"


def test_items_and_columns_are_read(path: Path) -> None:
    file = star.read(path)
    general, table = file.block("general"), file.block("table")
    assert (general.integer("rlnBox"), general.number("rlnPixel")) == (64, 2.8)
    assert general.text("rlnName") == "Refine3D/job001/run_it003.mrc"
    assert general.optional_number("rlnDiameter") is None
    np.testing.assert_array_equal(table.numbers("rlnTau2"), [0.998209, 6.757812, 1e-5])
    assert (table.n_rows, general.n_rows) == (3, 0)
    assert file.whole_lines


def test_descriptor_is_read_from_its_start_and_left_as_it_was(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.lseek(descriptor, 40, os.SEEK_SET)
        assert star.read(descriptor, name="handed over").block("table").n_rows == 3
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 40
    finally:
        os.close(descriptor)


def test_table_cut_between_two_rows_is_seen_by_counting(path: Path) -> None:
    path.write_text(TEXT[: TEXT.index("           2")])
    table = star.read(path).block("table")
    table.expect_rows(2)
    with pytest.raises(InputInvalid, match=r"run\.star: table 'table' has 2 rows, 3 were expected"):
        table.expect_rows(3)


def test_ragged_table_is_refused(path: Path) -> None:
    path.write_text(TEXT.replace("           2     1e-05\n", "           2\n"))
    with pytest.raises(InputInvalid, match="not a whole STAR file"):
        star.read(path)


def test_file_repaired_after_a_failure_is_read(path: Path) -> None:
    """A resident process sees half-written files; starfile's line cache would remember them for ever."""
    path.write_text(TEXT[: TEXT.index("1e-05")])
    with pytest.raises(InputInvalid):
        star.read(path)
    path.write_text(TEXT)
    assert star.read(path).block("table").n_rows == 3


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda f: f.block("absent"), "block 'absent' is missing .*'general', 'table'"),
        (lambda f: f.block("general").text("rlnAbsent"), "'rlnAbsent' is missing"),
        (lambda f: f.block("general").number("rlnName"), "not a number"),
        (lambda f: f.block("general").integer("rlnPixel"), "not a whole number"),
        (lambda f: f.block("table").column("rlnAbsent"), "column 'rlnAbsent' is missing"),
    ],
)
def test_what_is_missing_is_named(path: Path, ask: object, says: str) -> None:
    with pytest.raises(InputInvalid, match=says) as caught:
        ask(star.read(path))  # type: ignore[operator]
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "abc", "?"])
def test_what_is_no_finite_number_is_refused(path: Path, number: str) -> None:
    path.write_text(TEXT.replace("6.757812", number))
    with pytest.raises(InputInvalid, match="not a number"):
        star.read(path).block("table").numbers("rlnTau2")


@pytest.mark.parametrize("raw", [b"\0" * 100, b"\x7fELF\x00\x01", b"loop_ loop_", b"data_a\nloop_\n", b"_x 1\n"])
def test_what_is_no_star_file_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "bad.star").write_bytes(raw)
    with pytest.raises(InputInvalid, match=r"bad\.star"):
        star.read(tmp_path / "bad.star").block("general")


def test_size_is_bounded(path: Path) -> None:
    with pytest.raises(InputInvalid, match="more than 50"):
        star.read(path, max_bytes=50)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_path_with_letters_beyond_ascii_is_read(path: Path, encoding: str) -> None:
    path.write_bytes(TEXT.replace("run_it003", "M\xfcller\\n\\u00e4").encode(encoding))
    assert star.read(path).block("general").text("rlnName") == "Refine3D/job001/M\xfcller\\n\\u00e4.mrc"


def test_written_tables_are_read_alike_by_us_and_by_starfile(tmp_path: Path) -> None:
    path = tmp_path / "out.star"
    names = ["a b.mrc", "it's.mrc", 'say "x".mrc', "_lead.mrc", "data_x", "#no", ""]
    star.write_atomically(
        path, {"general": {"rlnBox": 64, "rlnPixel": 2.8}, "nodes": {"rlnName": names, "rlnN": [*range(7)]}}
    )
    file = star.read(path)
    assert list(file.block("nodes").column("rlnName")) == names
    np.testing.assert_array_equal(file.block("nodes").numbers("rlnN"), range(7))
    star.write_atomically(path, {"nodes": {"rlnName": ["x.mrc", "y.mrc"], "rlnValue": [0.5, 1e-9]}})
    frame = starfile.read(path)
    assert list(frame["rlnName"]) == ["x.mrc", "y.mrc"]
    assert list(frame["rlnValue"]) == [0.5, 1e-9]


def test_columns_of_different_lengths_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        star.write_atomically(tmp_path / "out.star", {"nodes": {"rlnA": [1, 2], "rlnB": [1]}})
    assert os.listdir(tmp_path) == []


@pytest.mark.shared
def test_real_files_of_relion_5_are_read(shared: Path) -> None:
    optimiser = star.read(shared / "data" / "star" / "relion5_tomo" / "Class3D_job017_run_it025_optimiser.star")
    assert optimiser.block("optimiser_general").integer("rlnCurrentIteration") == 25
