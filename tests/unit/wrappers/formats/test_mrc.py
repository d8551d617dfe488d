"""MRC maps: what is read is what other programs mean, what is written is whole, and damage is named."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5, 6, 7)).astype(np.float32)


@pytest.fixture
def map_file(tmp_path: Path, volume: np.ndarray) -> Path:
    path = tmp_path / "map.mrc"
    mrc.write_atomically(path, volume, 1.5)
    return path


def damage(path: Path, offset: int, layout: str, *values: float) -> None:
    raw = bytearray(path.read_bytes())
    struct.pack_into(layout, raw, offset, *values)
    path.write_bytes(raw)


def test_mrcfile_reads_what_we_wrote_and_finds_the_header_valid(map_file: Path, volume: np.ndarray) -> None:
    assert mrcfile.validate(map_file, print_file=open(os.devnull, "w"))  # noqa: SIM115
    with mrcfile.open(map_file) as opened:
        np.testing.assert_array_equal(opened.data, volume)
        assert opened.header.mode == 2
        assert opened.voxel_size.x == pytest.approx(1.5)
        assert opened.header.dmin == volume.min()
        assert opened.header.dmean == pytest.approx(volume.mean(dtype=float))
        assert opened.header.rms == pytest.approx(volume.std(dtype=float))
        assert (opened.header.origin.x, opened.header.nxstart, opened.header.ispg) == (0, 0, 1)


def test_size_and_checksum_are_those_of_the_file(tmp_path: Path, volume: np.ndarray) -> None:
    written = mrc.write_atomically(tmp_path / "map.mrc", volume, (1.0, 2.0, 3.0))
    raw = (tmp_path / "map.mrc").read_bytes()
    assert (written.size, written.crc32) == (len(raw), zlib.crc32(raw))
    assert mrc.read_header(tmp_path / "map.mrc").voxel_size_A == pytest.approx((1.0, 2.0, 3.0))


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_and_byte_order_that_mrcfile_writes_is_read(tmp_path: Path, dtype: str, order: str) -> None:
    stored = (np.random.default_rng(2).random((3, 4, 5)) * 100).astype(order + dtype)
    with mrcfile.new(tmp_path / "other.mrc") as file:
        file.set_data(stored)
    found, header = mrc.read(tmp_path / "other.mrc")
    np.testing.assert_array_equal(found, stored.astype(np.float32))
    assert found.dtype == np.float32
    assert header.shape == (3, 4, 5)


def test_axes_are_put_in_standard_order(tmp_path: Path, map_file: Path, volume: np.ndarray) -> None:
    """A file whose columns run along z holds the same map transposed."""
    columns_z = np.ascontiguousarray(volume.transpose(1, 2, 0))  # stored as (y, x, z)
    mrc.write_atomically(tmp_path / "turned.mrc", columns_z, 1.0)
    damage(tmp_path / "turned.mrc", 64, "<3i", 3, 1, 2)
    found, header = mrc.read(tmp_path / "turned.mrc")
    np.testing.assert_array_equal(found, volume)
    assert found.flags.c_contiguous
    assert header.shape == volume.shape


def test_descriptor_keeps_its_position_and_stays_open(map_file: Path, volume: np.ndarray) -> None:
    descriptor = os.open(map_file, os.O_RDWR)
    try:
        os.lseek(descriptor, 17, os.SEEK_SET)
        np.testing.assert_array_equal(mrc.read(descriptor)[0], volume)
        mrc.write(descriptor, volume[:2] * 2, 1.0)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 17
        np.testing.assert_array_equal(mrc.read(descriptor)[0], volume[:2] * 2)
        assert os.fstat(descriptor).st_size == 1024 + volume[:2].nbytes
    finally:
        os.close(descriptor)


def test_extended_header_is_skipped(map_file: Path, volume: np.ndarray) -> None:
    raw = map_file.read_bytes()
    map_file.write_bytes(raw[:1024] + b"x" * 160 + raw[1024:])
    damage(map_file, 92, "<i", 160)
    np.testing.assert_array_equal(mrc.read(map_file)[0], volume)


def test_slabs_are_the_map_in_pieces(map_file: Path, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mrc, "SLAB_BYTES", 2 * 6 * 7 * 4)
    header = mrc.read_header(map_file)
    pieces = [(start, slab.copy()) for start, slab in mrc.read_slabs(map_file, header)]
    assert [start for start, _ in pieces] == [0, 2, 4]
    np.testing.assert_array_equal(np.concatenate([slab for _, slab in pieces]), volume)


@pytest.mark.parametrize(
    ("offset", "layout", "values", "says"),
    [
        (0, "<i", (0,), "voxels"),
        (8, "<i", (-5,), "voxels"),
        (0, "<i", (1 << 30,), "voxels"),
        (0, "<3i", (60000, 60000, 60000), "cut off"),
        (12, "<i", (4,), "mode 4"),
        (12, "<i", (77777,), "mode"),
        (64, "<3i", (1, 1, 3), "axis order"),
        (92, "<i", (2**31 - 1,), "extended header"),
        (92, "<i", (-1,), "extended header"),
        (208, "<i", (0,), "MAP"),
        (1024 + 40, "<f", (float("nan"),), "NaN"),
        (1024 + 40, "<f", (float("inf"),), "NaN"),
    ],
)
def test_damage_is_refused_in_one_sentence_that_names_the_file(
    map_file: Path, offset: int, layout: str, values: tuple[float, ...], says: str
) -> None:
    damage(map_file, offset, layout, *values)
    with pytest.raises(InputInvalid, match=says) as caught:
        mrc.read(map_file)
    assert str(caught.value).startswith(str(map_file))
    assert "\n" not in str(caught.value)


def test_nan_is_read_where_it_is_asked_for(map_file: Path) -> None:
    damage(map_file, 1024, "<f", float("nan"))
    assert np.isnan(mrc.read(map_file, finite=False)[0][0, 0, 0])


@pytest.mark.parametrize("size", [0, 100, 1023, 1024, 1500, 1024 + 5 * 6 * 7 * 4 - 1])
def test_every_truncation_is_refused(map_file: Path, size: int) -> None:
    os.truncate(map_file, size)
    with pytest.raises(InputInvalid, match=r"map\.mrc: holds"):
        mrc.read(map_file)


def test_bytes_beyond_the_map_are_refused_only_when_exact(map_file: Path, volume: np.ndarray) -> None:
    map_file.write_bytes(map_file.read_bytes() + b"tail")
    np.testing.assert_array_equal(mrc.read(map_file)[0], volume)
    with pytest.raises(InputInvalid, match="damaged"):
        mrc.read_header(map_file, exact=True)


def test_file_that_shrinks_while_it_is_read_is_refused(map_file: Path) -> None:
    header = mrc.read_header(map_file)
    os.truncate(map_file, 1100)
    with pytest.raises(InputInvalid, match="shorter"):
        list(mrc.read_slabs(map_file, header))


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="No such file"):
        mrc.read(tmp_path / "absent.mrc")
    with pytest.raises(InputInvalid, match="directory"):
        mrc.read(tmp_path)


@pytest.mark.parametrize("bad", [np.full((2, 2, 2), np.nan), np.ones((2, 2)), np.ones((0, 2, 2))])
def test_what_is_no_map_is_not_written_and_an_older_file_stays(map_file: Path, bad: np.ndarray) -> None:
    before = map_file.read_bytes()
    with pytest.raises(ValueError, match=r"NaN|three axes"):
        mrc.write_atomically(map_file, bad.astype(np.float32), 1.0)
    assert map_file.read_bytes() == before
    assert os.listdir(map_file.parent) == [map_file.name]


def test_full_disk_leaves_the_older_file_and_nothing_else(map_file: Path) -> None:
    """A limit on the file size stands in for the full disk."""
    before = map_file.read_bytes()
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from cryobridge.wrappers.formats import mrc\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    mrc.write_atomically(sys.argv[1], np.ones((16, 16, 16), np.float32), 1.0)\n"
        "except OSError as error:\n"
        "    sys.exit(error.errno)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(map_file)], timeout=60)
    assert ended.returncode == errno.EFBIG
    assert map_file.read_bytes() == before
    assert os.listdir(map_file.parent) == [map_file.name]


def test_new_file_has_the_permissions_of_the_users_mask(tmp_path: Path, volume: np.ndarray) -> None:
    old = os.umask(0o027)
    try:
        mrc.write_atomically(tmp_path / "map.mrc", volume, 1.0)
    finally:
        os.umask(old)
    assert (tmp_path / "map.mrc").stat().st_mode & 0o777 == 0o640
