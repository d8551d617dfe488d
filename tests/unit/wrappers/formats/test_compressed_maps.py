"""Maps in gzip and bzip2: what is inside is read, no more than it announces is unpacked, and nothing is left behind."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid, OutOfMemory
from cryobridge.wrappers.formats import mrc

Pack = Callable[[bytes], bytes]
EXTENDED_BYTES = 80


def old_word(raw: bytes) -> bytes:
    return raw[:208] + bytes(8) + raw[216:]


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((5, 6, 7)).astype(np.float32)


@pytest.fixture
def plain(tmp_path: Path, volume: np.ndarray) -> bytes:
    """A map with an extended header."""
    mrc.write_atomically(tmp_path / "plain.mrc", volume, 1.5)
    raw = bytearray((tmp_path / "plain.mrc").read_bytes())
    (tmp_path / "plain.mrc").unlink()
    struct.pack_into("<i", raw, 92, EXTENDED_BYTES)
    return bytes(raw[:1024]) + b"x" * EXTENDED_BYTES + bytes(raw[1024:])


@pytest.fixture(params=[gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def pack(request: pytest.FixtureRequest) -> Pack:
    chosen: Pack = request.param
    return chosen


@pytest.mark.parametrize("name", ["map.map.gz", "map.mrc.bz2", "map.mrc"])
def test_packed_map_is_read_whatever_its_name(
    tmp_path: Path, volume: np.ndarray, plain: bytes, pack: Pack, name: str
) -> None:
    (tmp_path / name).write_bytes(pack(plain))
    found, header = mrc.read(tmp_path / name)
    np.testing.assert_array_equal(found, volume)
    assert mrc.read_header(tmp_path / name) == header
    assert header.data_offset == 1024 + EXTENDED_BYTES
    assert header.voxel_size_A == pytest.approx((1.5, 1.5, 1.5))
    assert os.listdir(tmp_path) == [name]


def test_several_archives_one_after_the_other_are_one_map(
    tmp_path: Path, volume: np.ndarray, plain: bytes, pack: Pack
) -> None:
    """As pigz and pbzip2 write."""
    (tmp_path / "map.gz").write_bytes(pack(plain[:1500]) + pack(plain[1500:]))
    np.testing.assert_array_equal(mrc.read(tmp_path / "map.gz")[0], volume)


def test_slabs_of_a_packed_map(
    tmp_path: Path, volume: np.ndarray, plain: bytes, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mrc, "SLAB_BYTES", 2 * 6 * 7 * 4)
    (tmp_path / "map.gz").write_bytes(pack(plain))
    slabs = mrc.read_slabs(tmp_path / "map.gz", mrc.read_header(tmp_path / "map.gz"))
    np.testing.assert_array_equal(np.concatenate([slab.copy() for _, slab in slabs]), volume)


@pytest.mark.parametrize("read", [mrc.read, mrc.read_header], ids=["read", "read_header"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_archive_that_was_cut_off_is_refused(
    tmp_path: Path, plain: bytes, pack: Pack, read: Callable[[Path], object], share: float
) -> None:
    packed = pack(plain)
    (tmp_path / "map.gz").write_bytes(packed[: int(len(packed) * share)])
    with pytest.raises(InputInvalid, match=r"cut off|no MRC file") as caught:
        read(tmp_path / "map.gz")
    assert str(caught.value).startswith(f"{tmp_path / 'map.gz'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [mrc.read, mrc.read_header], ids=["read", "read_header"])
def test_map_that_was_cut_off_before_it_was_packed_is_refused(
    tmp_path: Path, plain: bytes, pack: Pack, read: Callable[[Path], object]
) -> None:
    (tmp_path / "map.gz").write_bytes(pack(plain[:-4]))
    with pytest.raises(InputInvalid, match=rf"unpacks to {len(plain) - 4} bytes, its header announces {len(plain)}"):
        read(tmp_path / "map.gz")


def test_wrong_checksum_is_refused(tmp_path: Path, plain: bytes) -> None:
    packed = bytearray(gzip.compress(plain))
    packed[-8] ^= 1
    (tmp_path / "map.gz").write_bytes(packed)
    with pytest.raises(InputInvalid, match="gzip data is cut off or damaged"):
        mrc.read(tmp_path / "map.gz")


def test_damaged_archive_is_not_taken_for_a_map_with_nan(tmp_path: Path, plain: bytes) -> None:
    """Damage can turn into any voxels before the checksum at the end tells."""
    raw = plain[:1200] + b"\xff\xff\xff\xff" + plain[1204:]
    packed = bytearray(gzip.compress(raw, compresslevel=0))
    (tmp_path / "map.gz").write_bytes(packed)
    with pytest.raises(InputInvalid, match="holds NaN"):
        mrc.read(tmp_path / "map.gz")
    packed[-8] ^= 1
    (tmp_path / "map.gz").write_bytes(packed)
    with pytest.raises(InputInvalid, match="gzip data is cut off or damaged"):
        mrc.read(tmp_path / "map.gz")


def test_what_unpacks_to_more_than_announced_is_refused_without_unpacking_it(tmp_path: Path, plain: bytes) -> None:
    """64 MiB of zeros behind a small map: no more than a few blocks of them may ever be held."""
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(plain + bytes(64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(InputInvalid, match="unpacks to more than"):
            mrc.read(tmp_path / "bomb.gz")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_header_that_announces_more_than_gzip_can_hold_costs_no_memory(tmp_path: Path, plain: bytes) -> None:
    raw = bytearray(plain)
    struct.pack_into("<3i", raw, 0, 500, 500, 500)
    (tmp_path / "lie.gz").write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(InputInvalid, match="more than it can unpack to"):
        mrc.read(tmp_path / "lie.gz")


def test_map_larger_than_the_machine_is_refused(tmp_path: Path, plain: bytes) -> None:
    raw = bytearray(plain)
    struct.pack_into("<3i", raw, 0, 60000, 60000, 60000)
    (tmp_path / "giant.bz2").write_bytes(bz2.compress(bytes(raw)))
    with pytest.raises(OutOfMemory, match=r"giant\.bz2: the map needs 804662\.7 GiB"):
        mrc.read(tmp_path / "giant.bz2")


def test_large_map_from_a_tiny_bzip2_file_is_not_believed(tmp_path: Path, plain: bytes) -> None:
    """bzip2 packs zeros ten-thousandfold, so 12 kB could fill 10 GB."""
    raw = bytearray(plain)
    struct.pack_into("<3i", raw, 0, 700, 700, 700)
    (tmp_path / "bomb.bz2").write_bytes(bz2.compress(bytes(raw)))
    with pytest.raises(InputInvalid, match=r"bomb\.bz2: its header announces .* unpack it yourself"):
        mrc.read(tmp_path / "bomb.bz2")


def test_archive_of_something_else_is_refused(tmp_path: Path, plain: bytes, pack: Pack) -> None:
    for content, says in (
        (b"", "holds 0 bytes"),
        (b"text\n" * 300, "MAP"),
        (pack(plain), r"MAP|holds \d+ bytes"),
    ):
        (tmp_path / "odd.gz").write_bytes(pack(content))
        with pytest.raises(InputInvalid, match=says):
            mrc.read(tmp_path / "odd.gz")


def test_descriptor_is_never_unpacked(tmp_path: Path, plain: bytes, pack: Pack) -> None:
    """Descriptors come with a refinement program's call, and it writes plain maps."""
    (tmp_path / "map.gz").write_bytes(pack(plain))
    descriptor = os.open(tmp_path / "map.gz", os.O_RDONLY)
    try:
        with pytest.raises(InputInvalid, match=r"MAP|holds"):
            mrc.read(descriptor)
    finally:
        os.close(descriptor)


def test_map_older_than_the_word_is_read_if_it_fits_to_the_byte(
    tmp_path: Path, volume: np.ndarray, plain: bytes, pack: Pack
) -> None:
    raw = old_word(plain)
    for name, content in (("old.mrc", raw), ("old.mrc.gz", pack(raw))):
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(mrc.read(tmp_path / name)[0], volume)
    (tmp_path / "old.mrc").write_bytes(raw + b"\0")
    with pytest.raises(InputInvalid, match="damaged"):
        mrc.read(tmp_path / "old.mrc")
