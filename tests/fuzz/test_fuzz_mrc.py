"""Damaged MRC files: refused by name or read in full, never a hang, another error or memory for what is not there."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc

SHAPE = (4, 5, 6)
MOST_BYTES = 4 << 20
INTERESTING = [0, 1, -1, 2, 3, 4, 6, 12, 17, 101, 255, 1024, 65536, 65537, 2**31 - 1, -(2**31), 2**24, 0x7FC00000]


def good_file() -> bytes:
    descriptor = os.memfd_create("good")
    try:
        mrc.write(descriptor, np.random.default_rng(0).random(SHAPE).astype(np.float32), 1.2)
        return os.pread(descriptor, 1 << 20, 0)
    finally:
        os.close(descriptor)


GOOD = good_file()
words = st.tuples(st.integers(0, 255), st.one_of(st.sampled_from(INTERESTING), st.integers(-(2**31), 2**31 - 1)))
spots = st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255))


def mutate(
    changed_words: list[tuple[int, int]], changed_bytes: list[tuple[int, int]], cut: int | None, tail: bytes
) -> bytes:
    raw = bytearray(GOOD)
    for index, value in changed_words:
        struct.pack_into("<i", raw, 4 * index, value)
    for index, value in changed_bytes:
        raw[index] = value
    return bytes(raw[:cut]) + tail


def read_or_refuse(path: Path) -> None:
    """Reads a file that may be damaged; fails on anything but a whole map or an `InputInvalid` that names the file."""
    tracemalloc.start()
    said = None
    try:
        volume, header = mrc.read(path)
    except InputInvalid as refused:
        said = str(refused)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MOST_BYTES
    if said is not None:
        assert said.startswith(str(path))
        assert "\n" not in said
        return
    assert volume.shape == header.shape
    assert np.isfinite(volume).all()
    assert header.data_offset + header.data_bytes <= path.stat().st_size


@given(
    st.lists(words, max_size=4),
    st.lists(spots, max_size=6),
    st.none() | st.integers(0, len(GOOD)),
    st.binary(max_size=64),
)
def test_damaged_file_is_refused_or_read_in_full(
    tmp_path: Path, changed: list[tuple[int, int]], spots: list[tuple[int, int]], cut: int | None, tail: bytes
) -> None:
    (tmp_path / "fuzz.mrc").write_bytes(mutate(changed, spots, cut, tail))
    read_or_refuse(tmp_path / "fuzz.mrc")


@given(st.binary(max_size=2048))
def test_any_bytes_are_refused_or_read(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "fuzz.mrc").write_bytes(raw)
    read_or_refuse(tmp_path / "fuzz.mrc")


@given(st.integers(0, len(GOOD) - 1))
def test_every_truncation_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "fuzz.mrc").write_bytes(GOOD[:size])
    try:
        mrc.read(tmp_path / "fuzz.mrc")
    except InputInvalid:
        return
    raise AssertionError(f"a file cut at {size} bytes was read")
