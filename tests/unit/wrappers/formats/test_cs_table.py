"""`.cs` tables: what numpy itself writes and reads, and what must be refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.cs_table import joined, read_table, write_table

COLUMN = st.sampled_from(["<u4", "<u8", "<f4", "<f8", "<i4", "2<f4", "4<f4"])


@st.composite
def tables(draw: st.DrawFn) -> dict[str, np.ndarray]:
    rows = draw(st.integers(0, 6))
    columns: dict[str, np.ndarray] = {"uid": np.arange(rows, dtype="<u8")}
    for number, form in enumerate(draw(st.lists(COLUMN, max_size=4))):
        shape = (rows, int(form[0])) if form[0].isdigit() else (rows,)
        elements = hnp.arrays(np.dtype(form.lstrip("0123456789")), shape)
        columns[f"slot{number}/field"] = draw(elements)
    texts = draw(
        st.lists(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=rows, max_size=rows
        )
    )
    columns["blob/path"] = np.array(texts, dtype=object)
    return columns


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(tables())
def test_a_table_comes_back_as_it_was(tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
    write_table(tmp_path / "t.cs", columns)
    back = read_table(tmp_path / "t.cs")
    assert list(back) == list(columns)
    for name, values in columns.items():
        expected = values if values.dtype != object else np.array([str(text).rstrip("\0") for text in values])
        if values.dtype.kind == "f":
            np.testing.assert_array_equal(
                back[name].view(f"u{back[name].itemsize}"), expected.view(f"u{expected.itemsize}")
            )
        else:
            assert back[name].tolist() == expected.tolist()


def test_numpy_reads_it_without_pickle_and_texts_are_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "t.cs", {"uid": np.arange(2, dtype=np.uint64), "blob/path": np.array(["a.mrc", "bé.mrc"])})
    with (tmp_path / "t.cs").open("rb") as file:
        found = np.load(file, allow_pickle=False)
    assert found.dtype["blob/path"].kind == "S"
    assert found["blob/path"][1].decode() == "bé.mrc"


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    table = {"uid": np.arange(3, dtype=np.uint64), "a/x": np.zeros(3), "a/y": np.ones(3), "b/z": np.ones(3)}
    write_table(tmp_path / "t.cs", table)
    assert list(read_table(tmp_path / "t.cs", ["a/"])) == ["uid", "a/x", "a/y"]
    assert list(read_table(tmp_path / "t.cs", ["b/z", "c/"])) == ["uid", "b/z"]


def test_a_packed_table_is_unpacked(tmp_path: Path) -> None:
    write_table(tmp_path / "t.cs", {"uid": np.arange(3, dtype=np.uint64)})
    (tmp_path / "t.cs.gz").write_bytes(gzip.compress((tmp_path / "t.cs").read_bytes()))
    assert read_table(tmp_path / "t.cs.gz")["uid"].tolist() == [0, 1, 2]


def pickled(path: Path) -> None:
    np.save(path.open("wb"), np.array([("a",)], dtype=[("blob/path", object)]), allow_pickle=True)


def cut(path: Path) -> None:
    write_table(path, {"uid": np.arange(100, dtype=np.uint64)})
    path.write_bytes(path.read_bytes()[:-9])


def too_long(path: Path) -> None:
    write_table(path, {"uid": np.arange(100, dtype=np.uint64)})
    path.write_bytes(path.read_bytes() + b"x")


def compressed(path: Path) -> None:
    path.write_bytes(b"\x95CSDAT" + bytes(100))


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("data_particles\n\nloop_\n_rlnImageName\n1@a.mrcs\n")


def plain_array(path: Path) -> None:
    np.save(path.open("wb"), np.zeros((3, 3)))


def twice(path: Path) -> None:
    write_table(path, {"uid": np.array([7, 7], dtype=np.uint64)})


def not_text(path: Path) -> None:
    np.save(path.open("wb"), np.array([(1, b"\xff\xfe")], dtype=[("uid", "u8"), ("blob/path", "S2")]))


def uid_of_fractions(path: Path) -> None:
    write_table(path, {"uid": np.array([1.5, 2.5])})


def huge_header(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x02\x00" + (1 << 31).to_bytes(4, "little") + b"{" * 4096)


def announces_too_much(path: Path) -> None:
    header = b"{'descr': [('uid', '<u8')], 'fortran_order': False, 'shape': (99999999999,), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def negative_uids(path: Path) -> None:
    write_table(path, {"uid": np.array([-1, 2])})


def rows_of_nothing(path: Path) -> None:
    np.save(path.open("wb"), np.zeros(5, dtype=[("blob/path", "S0"), ("alignments3D/pose", "f4", (0,))]))


def no_columns(path: Path) -> None:
    np.save(path.open("wb"), np.zeros(5, dtype=[]))


def pdf(path: Path) -> None:
    path.write_bytes(b"%PDF-1.4")


def images(path: Path) -> None:
    path.write_bytes(bytes(208) + b"MAP " + bytes(900))


BAD = [
    (pdf, "is a PDF document; give the .cs of a job"),
    (images, "is an MRC file of a map or of images; give the .cs of a job"),
    (negative_uids, "one whole number"),
    (rows_of_nothing, "damaged"),
    (no_columns, "damaged"),
    (uid_of_fractions, "one whole number"),
    (huge_header, "damaged"),
    (announces_too_much, "announces"),
    (pickled, "no table"),
    (cut, "cut off"),
    (too_long, "cut off"),
    (compressed, "compressed"),
    (nothing, "no .cs"),
    (text, "is a STAR file; give the .cs of a job"),
    (plain_array, "no table"),
    (twice, "same 'uid'"),
    (not_text, "not UTF-8"),
]


@pytest.mark.parametrize(("make", "sentence"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_what_is_no_table_is_one_sentence(tmp_path: Path, make: Any, sentence: str) -> None:
    make(tmp_path / "t.cs")
    with pytest.raises(InputInvalid, match=sentence) as caught:
        read_table(tmp_path / "t.cs")
    assert "t.cs" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_passthrough_is_joined_on_uid_whatever_the_order_and_the_own_slots_win_whole() -> None:
    own = {"uid": np.array([5, 3, 9], np.uint64), "a/x": np.array([50, 30, 90])}
    other = {
        "uid": np.array([9, 4, 5, 3], np.uint64),
        "a/x": np.zeros(4),
        "a/of_an_earlier_job": np.ones(4),
        "b/y": np.array([99, 44, 55, 33]),
    }
    found = joined(own, [other], "t")
    assert list(found) == ["uid", "a/x", "b/y"]
    assert found["a/x"].tolist() == [50, 30, 90]
    assert found["b/y"].tolist() == [55, 33, 99]


@pytest.mark.parametrize("uids", [[], [5, 3], [5, 3, 8]])
def test_a_row_that_was_not_passed_through_is_refused(uids: list[int]) -> None:
    own = {"uid": np.array([5, 3, 9], np.uint64)}
    other = {"uid": np.array(uids, np.uint64), "b/y": np.zeros(len(uids))}
    with pytest.raises(InputInvalid, match="of 3 rows are not in passthrough table 1"):
        joined(own, [other], "t.cs")


def test_signed_and_unsigned_ids_are_told_apart_to_the_last_digit(tmp_path: Path) -> None:
    ids = np.uint64(2**62) + np.arange(50, dtype=np.uint64)
    write_table(tmp_path / "own.cs", {"uid": ids})
    write_table(tmp_path / "passed.cs", {"uid": ids[::-1].astype(">i8"), "b/y": np.arange(50)[::-1]})
    found = joined(read_table(tmp_path / "own.cs"), [read_table(tmp_path / "passed.cs")], "t.cs")
    assert found["b/y"].tolist() == list(range(50))


def test_passthrough_tables_that_contradict_each_other_are_refused_and_copies_are_not() -> None:
    own = {"uid": np.array([5, 3], np.uint64), "a/x": np.array([50, 30])}
    one = {"uid": np.array([3, 5], np.uint64), "b/y": np.array([np.nan, 55.0]), "b/z": np.array(["q", "p"])}
    copy = {
        "uid": np.array([5, 3, 4], np.uint64),
        "b/y": np.array([55.0, np.nan, 4.0]),
        "b/z": np.array(["p", "q", ""]),
    }
    assert joined(own, [one, copy], "t.cs")["b/z"].tolist() == ["p", "q"]
    for column in ("b/y", "b/z"):
        other = {**copy, column: copy[column][[1, 0, 2]]}
        with pytest.raises(InputInvalid, match=f"'{column}' of passthrough table 2 is not that"):
            joined(own, [one, other], "t.cs")
