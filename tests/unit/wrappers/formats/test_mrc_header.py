"""Where a map lies is read from its header, turned with its axes, and written back."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.mrc import AT_ZERO, MapPosition, read
from cryobridge.wrappers.formats.mrc_header import HEADER_BYTES, parsed_header

VOLUME = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
PLACE = MapPosition((-3, 4, 50), (1.5, -20.25, 300.0))


def test_a_position_comes_back_as_it_was_written(tmp_path: Path) -> None:
    mrc.write_atomically(tmp_path / "map.mrc", VOLUME, 1.5, PLACE)
    assert mrc.read_header(tmp_path / "map.mrc").position == PLACE
    with mrcfile.open(tmp_path / "map.mrc") as file:
        assert [int(file.nstart[axis]) for axis in "zyx"] == [-3, 4, 50]
        assert [float(file.header.origin[axis]) for axis in "zyx"] == [1.5, -20.25, 300.0]
    assert mrcfile.validate(tmp_path / "map.mrc", print_file=None)


def test_a_map_lies_at_0_unless_told_otherwise(tmp_path: Path) -> None:
    mrc.write_atomically(tmp_path / "map.mrc", VOLUME, 1.5)
    assert mrc.read_header(tmp_path / "map.mrc").position == AT_ZERO


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_start_indices_are_turned_with_the_axes_and_the_origin_is_not(
    tmp_path: Path, axes: tuple[int, int, int]
) -> None:
    """Start indices are counted along columns, rows and sections; the origin is in x, y, z."""
    mrc.write_atomically(tmp_path / "map.mrc", VOLUME, 1.5)
    raw = bytearray((tmp_path / "map.mrc").read_bytes())
    along = {1: 50, 2: 4, 3: -3}
    struct.pack_into("<3i", raw, 16, *(along[axis] for axis in axes))
    struct.pack_into("<3i", raw, 64, *axes)
    struct.pack_into("<3f", raw, 196, 300.0, -20.25, 1.5)
    (tmp_path / "map.mrc").write_bytes(raw)
    assert mrc.read_header(tmp_path / "map.mrc").position == PLACE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e30])
def test_an_origin_that_is_no_place_counts_as_0(tmp_path: Path, value: float) -> None:
    mrc.write_atomically(tmp_path / "map.mrc", VOLUME, 1.5)
    raw = bytearray((tmp_path / "map.mrc").read_bytes())
    struct.pack_into("<3f", raw, 196, value, 0.0, 0.0)
    (tmp_path / "map.mrc").write_bytes(raw)
    assert mrc.read_header(tmp_path / "map.mrc").position == AT_ZERO


def test_positions_are_alike_up_to_rounding() -> None:
    near = MapPosition((-3, 4, 50), (1.5001, -20.25, 300.0))
    assert near.same_as(PLACE, 1.5)
    assert not MapPosition((-3, 4, 51), PLACE.origin_A).same_as(PLACE, 1.5)
    assert not MapPosition(PLACE.start, (1.6, -20.25, 300.0)).same_as(PLACE, 1.5)
    assert str(PLACE) == "start (50, 4, -3), origin (300, -20.25, 1.5) A"


def old_imod(origin: float, labels: int) -> bytes:
    """A header as IMOD wrote it before there was the word MAP: an origin and the number of labels in its place."""
    raw = bytearray(HEADER_BYTES)
    struct.pack_into("<4i", raw, 0, 4, 5, 6, 0)
    struct.pack_into("<3i", raw, 28, 4, 5, 6)
    struct.pack_into("<6f", raw, 40, 40.0, 50.0, 60.0, 90.0, 90.0, 90.0)
    struct.pack_into("<3i", raw, 64, 1, 2, 3)
    struct.pack_into("<3fi", raw, 208, origin, 0.0, 0.0, labels)
    return bytes(raw)


def test_a_map_of_an_old_imod_is_read_if_its_size_bears_it_out(tmp_path: Path) -> None:
    path = tmp_path / "old.rec"
    path.write_bytes(old_imod(4640.0, 10) + bytes(range(120)))
    voxels, header = read(path)
    assert voxels.shape == (6, 5, 4)
    assert header.voxel_size_A == pytest.approx((10.0, 10.0, 10.0))
    path.write_bytes(old_imod(4640.0, 10) + bytes(130))
    with pytest.raises(InputInvalid, match="announces"):
        read(path)


@pytest.mark.parametrize(("origin", "labels"), [(1e30, 1), (4640.0, 77), (float("nan"), 1)])
def test_what_is_no_map_of_an_old_imod_lacks_the_word(origin: float, labels: int) -> None:
    with pytest.raises(InputInvalid, match="the word MAP is missing"):
        parsed_header(old_imod(origin, labels), "x")
