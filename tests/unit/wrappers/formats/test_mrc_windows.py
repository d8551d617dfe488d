"""Windows of volumes are what the whole volume holds there, whatever its type, byte order and order of axes."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.mrc_windows import MrcWindows
from cryobridge.wrappers.formats.stored_runs import stored_runs, window_shape

SHAPE = (5, 6, 7)


def stored(path: Path, dtype: str, axes: tuple[int, int, int] = (1, 2, 3)) -> np.ndarray:
    """A file of random voxels, and what `mrc.read` makes of it."""
    voxels = (30 * np.random.default_rng(2).standard_normal(SHAPE)).astype(dtype)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(voxels)
        file.voxel_size = 4.0
        file.header.mapc, file.header.mapr, file.header.maps = axes
    return mrc.read(path)[0]


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
@pytest.mark.parametrize("dtype", ["<i1", "<i2", "<f4", "<u2", "<f2", ">i2", ">f4", ">u2", ">f2"])
def test_a_window_is_what_the_volume_holds_there(tmp_path: Path, dtype: str, axes: tuple[int, int, int]) -> None:
    whole = stored(tmp_path / "a.mrc", dtype, axes)
    with MrcWindows(tmp_path / "a.mrc") as windows:
        assert windows.shape == whole.shape
        for window in (
            (slice(None), slice(None), slice(None)),
            (slice(1, 3), slice(None), slice(None)),
            (slice(1, 4), slice(2, 4), slice(None)),
            (slice(0, 4), slice(1, 5), slice(2, 5)),
        ):
            np.testing.assert_array_equal(windows.window(*window), whole[window])
        np.testing.assert_array_equal(np.concatenate([slab for _, slab in windows.slabs(2)]), whole)


@given(st.data())
def test_runs_cover_a_window_once_and_in_order(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 5)) for _ in range(3))
    limits = [sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n)))) for n in shape]
    window = tuple(slice(*limit) for limit in limits)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    found = [run.in_file + step for run in stored_runs(shape, window) for step in range(run.count)]
    assert found == numbers[window].ravel().tolist()
    assert window_shape(shape, window) == numbers[window].shape


@pytest.mark.parametrize("spans", [((-3, 4), (0, 6), (5, 20)), ((-12, -8), (2, 4), (0, 7)), ((0, 5), (0, 6), (0, 7))])
def test_beyond_its_borders_a_volume_is_mirrored(tmp_path: Path, spans: tuple[tuple[int, int], ...]) -> None:
    whole = stored(tmp_path / "a.mrc", "f4")
    padded = np.pad(whole, 14, mode="symmetric")
    with MrcWindows(tmp_path / "a.mrc") as windows:
        wanted = padded[tuple(slice(start + 14, stop + 14) for start, stop in spans)]
        np.testing.assert_array_equal(windows.mirrored(spans), wanted)


def test_half_precision_gives_the_statistics_of_float32(tmp_path: Path) -> None:
    """Sums of float16 overflow beyond 65504; ours are float64."""
    values = np.linspace(30000, 60000, 40 * 40 * 40).reshape(40, 40, 40).astype(np.float16)
    mrcfile.write(tmp_path / "half.mrc", values)
    mrcfile.write(tmp_path / "single.mrc", values.astype(np.float32))
    with MrcWindows(tmp_path / "half.mrc") as half, MrcWindows(tmp_path / "single.mrc") as single:
        assert half.statistics() == single.statistics()
        assert half.statistics().deviation == pytest.approx(values.astype(float).std(), rel=1e-12)
        assert half.statistics().mean == pytest.approx(values.astype(float).mean(), rel=1e-12)


def test_of_a_tomogram_larger_than_memory_single_windows_are_read(tmp_path: Path) -> None:
    """4096 x 4096 x 1200 voxels in a file that is almost all holes."""
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, 4096, 4096, 1200, 2)
    struct.pack_into("<3i", header, 28, 4096, 4096, 1200)
    struct.pack_into("<6f", header, 40, 40960, 40960, 12000, 90, 90, 90)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    header[208:216] = b"MAP \x44\x44\x00\x00"
    path = tmp_path / "huge.mrc"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(1024 + 4 * 4096 * 4096 * 1200)
        file.seek(1024 + 4 * (1100 * 4096 * 4096 + 4000 * 4096 + 4090))
        file.write(struct.pack("<f", 7.0))
    with MrcWindows(path) as windows:
        block = windows.window(slice(1099, 1102), slice(3990, 4010), slice(4080, 4096))
        assert block.shape == (3, 20, 16)
        assert (block[1, 10, 10], block.sum()) == (7.0, 7.0)


def nan_inside(path: Path) -> None:
    voxels = np.zeros(SHAPE, np.float32)
    voxels[3, 2, 1] = np.nan
    mrcfile.write(path, voxels)


def packed(path: Path) -> None:
    stored(path, "f4")
    path.write_bytes(gzip.compress(path.read_bytes()))


def cut_off(path: Path) -> None:
    stored(path, "f4")
    path.write_bytes(path.read_bytes()[:1100])


def read_sections(path: Path) -> None:
    with MrcWindows(path) as windows:
        windows.sections(2, 5)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (nan_inside, "holds NaN or infinite values .1 in sections 2 to 4."),
        (packed, "is packed, .* unpack it first"),
        (cut_off, "holds 1100 bytes, its header announces"),
        (lambda path: None, "cannot be opened"),
        (lambda path: path.write_bytes(b"%PDF" + bytes(2000)), "a PDF document, not a map"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, spoil: Callable[[Path], object], sentence: str) -> None:
    spoil(tmp_path / "bad.mrc")
    with pytest.raises(InputInvalid, match=sentence):
        read_sections(tmp_path / "bad.mrc")


def test_nan_is_found_by_the_statistics_too(tmp_path: Path) -> None:
    nan_inside(tmp_path / "bad.mrc")
    with MrcWindows(tmp_path / "bad.mrc") as windows, pytest.raises(InputInvalid, match="NaN or infinite"):
        windows.statistics()


def test_a_wrong_machine_stamp_is_seen_through(tmp_path: Path) -> None:
    whole = stored(tmp_path / "a.mrc", "<f4")
    raw = bytearray((tmp_path / "a.mrc").read_bytes())
    raw[212:216] = b"\x11\x11\x00\x00"
    (tmp_path / "a.mrc").write_bytes(raw)
    with MrcWindows(tmp_path / "a.mrc") as windows:
        np.testing.assert_array_equal(windows.sections(0, 5), whole)
