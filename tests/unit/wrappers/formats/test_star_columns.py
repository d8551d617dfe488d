"""Columns of STAR files of particles, read as RELION reads them."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.star_columns import read_columns

TABLE = b"data_particles\n\nloop_\n_rlnMicrographName #1\n_rlnImageName #2\n_rlnGroupName #3\n"


def wanted(label: str) -> bool:
    return label in ("rlnImageName", "rlnMicrographName", "rlnOpticsGroup", "rlnImageSize")


def columns_of(tmp_path: Path, content: bytes, block: str = "particles") -> dict[str, list[str]]:
    (tmp_path / "p.star").write_bytes(content)
    return {label: list(values) for label, values in read_columns(tmp_path / "p.star", wanted)[block].columns.items()}


@pytest.mark.parametrize("micrograph", ["data_1.mrc", "_a.mrc", "loop_1.mrc", "#12.mrc", "m.mrc", "\u7c92\u5b50.mrc"])
def test_no_name_of_a_micrograph_is_reserved(tmp_path: Path, micrograph: str) -> None:
    found = columns_of(tmp_path, TABLE + f"{micrograph} 1@a.mrcs g\nm2.mrc 2@a.mrcs g\n".encode())
    assert found == {"rlnMicrographName": [micrograph, "m2.mrc"], "rlnImageName": ["1@a.mrcs", "2@a.mrcs"]}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_packed_files_and_those_of_other_systems_are_read(
    tmp_path: Path, pack: Callable[[bytes], bytes], end: bytes
) -> None:
    content = b"# version 30001\n" + TABLE + b'"a b.mrc" 1@a.mrcs g # a comment\n'
    found = columns_of(tmp_path, pack(content.replace(b"\n", end)))
    assert found == {"rlnMicrographName": ["a b.mrc"], "rlnImageName": ["1@a.mrcs"]}


def test_a_mark_of_byte_order_is_passed_over(tmp_path: Path) -> None:
    assert columns_of(tmp_path, b"\xef\xbb\xbf" + TABLE + b"m 1@a g\n")["rlnImageName"] == ["1@a"]


def test_single_items_are_a_table_of_one_row(tmp_path: Path) -> None:
    content = b"data_optics\n_rlnOpticsGroup 1\n_rlnImageSize  64 # pixels\n_rlnVoltage 300\n\n" + TABLE
    assert columns_of(tmp_path, content, "optics") == {"rlnOpticsGroup": ["1"], "rlnImageSize": ["64"]}
    assert columns_of(tmp_path, content) == {"rlnMicrographName": [], "rlnImageName": []}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (TABLE + b"m.mrc 1@a.mrcs\n", "line 7 holds 2 values for 3 columns"),
        (b"data_\nloop_\n_rlnImageName\n_rlnImageName\n1@a 2@a\n", "column 'rlnImageName' twice"),
        (TABLE + b"m.mrc 1@a g\n\nloop_\n_rlnImageName\n1@b\n", "two tables"),
        (b"data_o\n_rlnImageSize 64\n_rlnImageSize 65\n", "'rlnImageSize' twice"),
        (b"data_particles\n_rlnImageSize 64\n" + TABLE[15:] + b"m 1@a g\n", "two tables"),
        (b"\x93NUMPY\1\0", "is a .cs of CryoSPARC"),
        (bytes(208) + b"MAP " + bytes(900), "is an MRC file"),
        (b"%PDF-1.4\n", "is a PDF"),
        (b"data_" + bytes(50), "neither a STAR file"),
    ],
)
def test_what_is_no_whole_table_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(InputInvalid, match=sentence) as caught:
        columns_of(tmp_path, content)
    assert "p.star" in str(caught.value)
    assert "\n" not in str(caught.value)
