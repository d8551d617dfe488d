"""Maps as archives and other programs wrote them: axis orders, packing, odd headers."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.wrappers.formats import mrc

MAPS = [
    ("betagal_box100.mrc.gz", 3.54),
    ("emd_11007_bin2_box120.mrc.gz", 1.668),
    ("emd_3197.map.gz", 11.4),
    ("emd_32143_lowres_box100.map.gz", 1.5272),
    ("emd_3420_bin4_box64.mrc.gz", 10.48),
    ("emd_3488_box100.mrc.gz", 1.05),
    ("emd_5625_box56.map.gz", 4.23),
]


def as_mrcfile_reads(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The map in (z, y, x) and its voxel size, with the stored axes put in order by the header's words."""
    with mrcfile.open(path, permissive=True) as file:
        header = file.header
        axes = [int(header.maps), int(header.mapr), int(header.mapc)]
        size = file.voxel_size
        data = np.array(file.data).transpose([axes.index(axis) for axis in (3, 2, 1)])
        return data.astype(np.float32), (float(size.z), float(size.y), float(size.x))


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:Map ID string:RuntimeWarning", "ignore:Unrecognised machine stamp:RuntimeWarning")
@pytest.mark.parametrize(("name", "voxel_size_A"), MAPS)
def test_real_map_is_what_mrcfile_makes_of_it(shared: Path, name: str, voxel_size_A: float) -> None:
    path = shared / "data" / "maps_real" / name
    volume, header = mrc.read(path)
    expected, sizes = as_mrcfile_reads(path)
    np.testing.assert_array_equal(volume, expected)
    assert header.voxel_size_A == pytest.approx(sizes, rel=1e-5)
    assert header.voxel_size_A == pytest.approx((voxel_size_A,) * 3, rel=1e-3)
    assert volume.flags.c_contiguous


@pytest.mark.shared
def test_map_with_turned_axes_is_the_same_map_as_mrcfile_turned(shared: Path, tmp_path: Path) -> None:
    """emd_11007 is stored with its columns along z; rewritten in the usual order it must read the same."""
    path = shared / "data" / "maps_real" / "emd_11007_bin2_box120.mrc.gz"
    with mrcfile.open(path) as file:
        assert (file.header.mapc, file.header.mapr, file.header.maps) == (3, 2, 1)
        stored = np.array(file.data)
    with mrcfile.new(tmp_path / "usual.mrc") as file:
        file.set_data(np.ascontiguousarray(stored.transpose(2, 1, 0)))
        file.voxel_size = 1.668
    np.testing.assert_array_equal(mrc.read(path)[0], mrc.read(tmp_path / "usual.mrc")[0])
    assert not np.array_equal(mrc.read(path)[0], stored)


@pytest.mark.shared
def test_oblong_map_with_turned_axes_and_an_offset_grid(shared: Path) -> None:
    """emd_3001: columns along z, rows along x, crystal sampling unlike its size, an extended header."""
    path = shared / "data" / "maps_real" / "emd_3001.map.gz"
    volume, header = mrc.read(path)
    expected, sizes = as_mrcfile_reads(path)
    assert header.stored_shape == (25, 43, 73)
    assert header.shape == volume.shape == (73, 25, 43)
    np.testing.assert_array_equal(volume, expected)
    assert header.voxel_size_A == pytest.approx(sizes, rel=1e-5)


@pytest.mark.shared
def test_map_without_a_voxel_size_says_so(shared: Path) -> None:
    volume, header = mrc.read(shared / "data" / "heterogeneity" / "recovar_vols" / "vol0000.mrc.gz")
    assert volume.shape == (64, 64, 64)
    assert header.voxel_size_A == (0.0, 0.0, 0.0)


@pytest.mark.shared
def test_packed_and_plain_are_one_map(shared: Path, tmp_path: Path) -> None:
    packed = shared / "data" / "maps_real" / "emd_5625_box56.map.gz"
    with gzip.open(packed) as content, (tmp_path / "plain.map").open("wb") as plain:
        shutil.copyfileobj(content, plain)
    np.testing.assert_array_equal(mrc.read(packed)[0], mrc.read(tmp_path / "plain.map")[0])


ORDERS = [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)]


@pytest.mark.parametrize("axes", ORDERS, ids=str)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_every_axis_order_mode_12_odd_box_and_extended_header(
    tmp_path: Path, axes: tuple[int, int, int], order: str
) -> None:
    """A float16 map of 3 x 5 x 7 (z, y, x), written by mrcfile as a program with other axes would store it."""
    volume = np.random.default_rng(5).standard_normal((3, 5, 7)).astype(np.float16)
    slowest_first = axes[::-1]
    stored = volume.transpose([3 - axis for axis in slowest_first])
    path = tmp_path / "turned.mrc"
    with mrcfile.new(path) as file:
        file.set_data(np.ascontiguousarray(stored).astype(order + "f2"))
        file.set_extended_header(np.frombuffer(b"y" * 160, dtype="V80"))
        file.header.mapc, file.header.mapr, file.header.maps = axes
        file.header.mx, file.header.my, file.header.mz = 7, 5, 3
        file.header.cella = (7 * 1.5, 5 * 1.25, 3 * 2.0)
    assert struct.unpack_from(order + "i", path.read_bytes(), 92) == (160,)
    found, header = mrc.read(path)
    np.testing.assert_array_equal(found, volume.astype(np.float32))
    assert header.shape == (3, 5, 7)
    assert header.voxel_size_A == pytest.approx((2.0, 1.25, 1.5))
