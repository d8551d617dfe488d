"""The shape of a stack, whatever its mode, byte order and number of images."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.mrc_stack import read_stack_shape


def write_stack(path: Path, order: str, numbers: tuple[int, int, int, int], extended: int, size: int) -> None:
    raw = bytearray(1024)
    struct.pack_into(f"{order}4i", raw, 0, *numbers)
    struct.pack_into(f"{order}i", raw, 92, extended)
    path.write_bytes(raw)
    os.truncate(path, size)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("mode", "pixel_bytes"), [(0, 1), (1, 2), (2, 4), (6, 2), (12, 2)])
def test_every_mode_and_byte_order_is_read_and_a_missing_byte_seen(
    tmp_path: Path, order: str, mode: int, pixel_bytes: int
) -> None:
    # More images than a map may have sections; the file is sparse.
    size = 1024 + 80 + 200_000 * 3 * 5 * pixel_bytes
    write_stack(tmp_path / "a.mrc", order, (5, 3, 200_000, mode), 80, size)
    assert read_stack_shape(tmp_path / "a.mrc") == (200_000, 3, 5)
    os.truncate(tmp_path / "a.mrc", size - 1)
    with pytest.raises(InputInvalid, match="it was cut off"):
        read_stack_shape(tmp_path / "a.mrc")


@pytest.mark.parametrize("content", [b"", b"a text", bytes(1024), b"\xff" * 2000])
def test_what_is_no_stack_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mrc").write_bytes(content)
    with pytest.raises(InputInvalid, match="is no MRC stack"):
        read_stack_shape(tmp_path / "a.mrc")


def test_a_stack_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"b\.mrc: cannot be read"):
        read_stack_shape(tmp_path / "b.mrc")
