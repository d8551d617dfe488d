"""Damaged gzip and bzip2 maps and network files: read in full or refused by name, never another error."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid, OutOfMemory
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.torch_archive import read_named_tensors

SHAPE = (4, 5, 6)
KEY = "model_state_dict"


def plain_map() -> bytes:
    descriptor = os.memfd_create("plain")
    try:
        mrc.write(descriptor, np.random.default_rng(0).random(SHAPE).astype(np.float32), 1.2)
        return os.pread(descriptor, 1 << 20, 0)
    finally:
        os.close(descriptor)


def network_file() -> bytes:
    buffer = io.BytesIO()
    state = {"first.weight": torch.ones(2, 3), "steps": torch.tensor(5)}
    torch.save({KEY: state, "average_loss": [torch.tensor(0.5).numpy()]}, buffer)
    return buffer.getvalue()


PLAIN, NETWORK = plain_map(), network_file()
PACKED = {"gzip": gzip.compress(PLAIN, mtime=0), "bzip2": bz2.compress(PLAIN)}

positions = st.integers(0, 1 << 20)
edits = st.lists(st.tuples(positions, st.integers(0, 255)), max_size=6)
cuts = st.none() | positions


def edited(raw: bytes, changes: list[tuple[int, int]], cut: int | None, tail: bytes) -> bytes:
    changed = bytearray(raw)
    for position, value in changes:
        changed[position % len(raw)] = value
    return bytes(changed[: None if cut is None else cut % len(raw)]) + tail


def read_map_or_refuse(path: Path) -> bool:
    said = None
    try:
        volume, header = mrc.read(path)
    except (InputInvalid, OutOfMemory) as refused:
        said = str(refused)
    if said is not None:
        assert said.startswith(f"{path}: ")
        assert "\n" not in said
        return False
    assert volume.shape == header.shape
    assert np.isfinite(volume).all()
    return True


@given(st.sampled_from(sorted(PACKED)), edits, cuts, st.binary(max_size=64))
def test_damaged_archive_of_a_map(
    tmp_path: Path, kind: str, changes: list[tuple[int, int]], cut: int | None, tail: bytes
) -> None:
    """Both kinds carry checksums, so what is read is what was packed."""
    raw = edited(PACKED[kind], changes, cut, tail)
    (tmp_path / "fuzz.map").write_bytes(raw)
    if read_map_or_refuse(tmp_path / "fuzz.map") and raw[:3] == PACKED[kind][:3]:
        assert mrc.read(tmp_path / "fuzz.map")[0].tobytes() == PLAIN[1024:]


@given(st.sampled_from([gzip.compress, bz2.compress]), edits, cuts, st.binary(max_size=64))
def test_archive_of_a_damaged_map(
    tmp_path: Path, pack: Callable[[bytes], bytes], changes: list[tuple[int, int]], cut: int | None, tail: bytes
) -> None:
    (tmp_path / "fuzz.map").write_bytes(pack(edited(PLAIN, changes, cut, tail)))
    read_map_or_refuse(tmp_path / "fuzz.map")


def read_network_or_refuse(path: Path) -> None:
    said = None
    try:
        found = read_named_tensors(path, KEY)
    except InputInvalid as refused:
        said = str(refused)
    if said is not None:
        assert said.startswith(f"{path}: ")
        assert "\n" not in said
        return
    assert all(isinstance(value, torch.Tensor) for value in found.values())


@given(edits, cuts, st.binary(max_size=64))
def test_damaged_network_file(tmp_path: Path, changes: list[tuple[int, int]], cut: int | None, tail: bytes) -> None:
    (tmp_path / "fuzz.pt").write_bytes(edited(NETWORK, changes, cut, tail))
    read_network_or_refuse(tmp_path / "fuzz.pt")


OPERATIONS = b"()]}0123.2JKMNRXbcdegHhijlopqrstuaQP\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95"


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.sampled_from(list(OPERATIONS))), min_size=1, max_size=6), cuts)
def test_program_of_other_operations(tmp_path: Path, changes: list[tuple[int, int]], cut: int | None) -> None:
    """The pickle in the archive is changed and the archive's checksum with it."""
    with zipfile.ZipFile(io.BytesIO(NETWORK)) as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(tmp_path / "fuzz.pt", "w") as changed:
        for name, content in entries.items():
            changed.writestr(name, edited(content, changes, cut, b"") if name.endswith("data.pkl") else content)
    read_network_or_refuse(tmp_path / "fuzz.pt")
