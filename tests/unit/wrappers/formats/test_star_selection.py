"""Some rows of a STAR file: every byte that is kept is the source's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import starfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.star_selection import read_star_rows, star_of_rows

HEAD = (
    b"# made by hand\n\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnVoltage #2\n1  300.0\n2  200.0\n\n"
    b"# version 30001\n\ndata_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n_myOwn #3\n"
)
ROWS = [f'00000{number}@"a b/s.mrcs"   {number % 2 + 1}  "text {number}"  \n'.encode() for number in range(1, 8)]
TAIL = b"\n\ndata_after\n\n_rlnSome  value\n"


@pytest.fixture
def star(tmp_path: Path) -> Path:
    path = tmp_path / "particles.star"
    rows = [row.replace(b'@"a b/s.mrcs"', b"@stack.mrcs") for row in ROWS]
    path.write_bytes(HEAD + b"".join(rows) + TAIL)
    return path


def test_all_rows_are_the_file_itself(star: Path) -> None:
    found = read_star_rows(star)
    assert len(found) == 7
    assert found.numbers.tolist() == list(range(7))
    assert star_of_rows(found, np.arange(7)) == star.read_bytes()


def test_no_row_leaves_every_other_table_and_comment(star: Path) -> None:
    assert star_of_rows(read_star_rows(star), np.arange(0)) == HEAD + TAIL


def test_rows_keep_their_bytes_and_the_order_of_the_file(star: Path) -> None:
    found = star_of_rows(read_star_rows(star), np.array([5, 1]))
    kept = [row.replace(b'@"a b/s.mrcs"', b"@stack.mrcs") for row in (ROWS[1], ROWS[5])]
    assert found == HEAD + b"".join(kept) + TAIL


def test_added_columns_stand_at_the_end_of_their_own_rows(star: Path, tmp_path: Path) -> None:
    made = star_of_rows(read_star_rows(star), np.array([5, 1]), {"cryobridgeZ1": ["5.5", "1.25"]})
    (tmp_path / "out.star").write_bytes(made)
    table = starfile.read(tmp_path / "out.star")["particles"]
    assert list(table["cryobridgeZ1"]) == [1.25, 5.5]
    assert list(table["myOwn"]) == ["text 2", "text 6"]


def test_a_column_that_is_there_already_is_not_added_again(star: Path, tmp_path: Path) -> None:
    (tmp_path / "out.star").write_bytes(star_of_rows(read_star_rows(star), np.array([1]), {"cryobridgeZ1": ["1"]}))
    with pytest.raises(InputInvalid, match="has the column 'cryobridgeZ1' already"):
        star_of_rows(read_star_rows(tmp_path / "out.star"), np.array([0]), {"cryobridgeZ1": ["1"]})


def test_a_file_without_images_or_with_two_tables_of_them_is_refused(star: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.star"
    other.write_bytes(HEAD.partition(b"# version")[0])
    with pytest.raises(InputInvalid, match="has no table with 'rlnImageName'"):
        read_star_rows(other)
    other.write_bytes(star.read_bytes() + b"\n" + star.read_bytes())
    with pytest.raises(InputInvalid, match="two tables of particles"):
        read_star_rows(other)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(ends=st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=7, max_size=7), kept=st.sets(st.integers(0, 6)))
def test_whatever_the_ends_of_lines(tmp_path: Path, ends: list[bytes], kept: set[int]) -> None:
    rows = [f"{number}@s.mrcs {number}".encode() + end for number, end in enumerate(ends, 1)]
    head = b"data_\r\nloop_\r\n_rlnImageName\n_rlnX\r\n"
    path = tmp_path / "ends.star"
    path.write_bytes(head + b"".join(rows))
    made = star_of_rows(read_star_rows(path), np.array(sorted(kept), np.int64))
    assert made == head + b"".join(rows[at] for at in sorted(kept))
