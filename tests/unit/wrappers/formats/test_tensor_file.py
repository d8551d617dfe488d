"""Files of tensors: what was written comes back, and of what is something else only the table of contents is read."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.wrappers.formats.tensor_file import TensorFile

TENSORS = {
    "b": torch.arange(6.0).view(2, 3),
    "a": torch.tensor(7),
    "none": torch.empty(0, 4),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "yes": torch.tensor([True, False]),
}


def open_file(path: Path, most: int = 10_000) -> tuple[TensorFile, int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return TensorFile(descriptor, most), descriptor
    except ValueError:
        os.close(descriptor)
        raise


def written(path: Path, table: dict[str, Any], size: int) -> Path:
    """A file with this table of contents and so many bytes of holes behind it."""
    raw = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    os.truncate(path, 8 + len(raw) + size)
    return path


def test_what_safetensors_writes_is_read(tmp_path: Path) -> None:
    safetensors.torch.save_file(TENSORS, tmp_path / "x", {"note": "here"})
    file, descriptor = open_file(tmp_path / "x")
    assert file.metadata == {"note": "here"}
    assert file.names == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        found = file.read(name)
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)
        raw = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert b"".join(map(bytes, file.blocks(name))) == raw
        assert file.size_of(name) == len(raw)
    os.truncate(tmp_path / "x", os.path.getsize(tmp_path / "x") - 1)
    with pytest.raises(ValueError, match="became shorter"):
        [file.read(name) for name in file.names]
    os.close(descriptor)


def entry(start: int, end: int, **other: Any) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end], **other}


@pytest.mark.parametrize(
    ("table", "size"),
    [
        ({}, 1 << 30),
        ({"a": entry(0, 4)}, 5),
        ({"a": entry(0, 4)}, 3),
        ({"a": entry(1, 4)}, 4),
        ({"a": entry(0, 4), "b": entry(0, 4)}, 4),
        ({"a": entry(0, 4), "b": entry(5, 6)}, 6),
        ({"a": entry(0, 4, shape=[5])}, 4),
        ({"a": entry(0, 4, shape=[2**70, 0])}, 4),
        ({"a": entry(0, 4, shape=[-2, -2])}, 4),
        ({"a": entry(0, 4, shape=4)}, 4),
        ({"a": entry(0, 4, dtype="F8_E4M3")}, 4),
        ({"a": entry(0, 4, dtype=["U8"])}, 4),
        ({"a": entry(0, 4, data_offsets=[0, 4, 4])}, 4),
        ({"a": entry(0, 4, data_offsets=[4, 0])}, 4),
        ({"a": entry(0, 1, shape=[True])}, 1),
        ({"a": 3}, 4),
    ],
)
def test_a_table_that_does_not_fit_the_file_is_refused(tmp_path: Path, table: dict[str, Any], size: int) -> None:
    written(tmp_path / "x", table, size)
    with pytest.raises(ValueError, match=r"."):
        open_file(tmp_path / "x")


@pytest.mark.parametrize("raw", [b"", b"\x00" * 8, b"\xff" * 40, struct.pack("<Q", 4) + b"[12]", b"PK\x03\x04" * 9])
def test_other_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(ValueError, match=r"."):
        open_file(tmp_path / "x")


@given(st.binary(max_size=200))
def test_any_table_is_one_or_a_value_error(raw: bytes) -> None:
    descriptor = os.memfd_create("x")
    try:
        os.write(descriptor, struct.pack("<Q", len(raw)) + raw)
        TensorFile(descriptor, 10_000)
    except ValueError:
        pass
    finally:
        os.close(descriptor)


def test_of_a_file_of_another_sort_nothing_is_held_whatever_its_size(tmp_path: Path) -> None:
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 1 << 40)
    nested = tmp_path / "nested"
    nested.write_bytes(struct.pack("<Q", 9000) + b"[" * 9000)
    long = written(tmp_path / "long", {"a" * 20_000: entry(0, 1 << 30)}, 1 << 30)
    tracemalloc.start()
    for path in (tmp_path / "hole", nested, long):
        with pytest.raises(ValueError, match=r"."):
            open_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
