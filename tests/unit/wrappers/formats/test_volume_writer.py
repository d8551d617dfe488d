"""What is put in window by window is the volume that other programs read, with the header that it was to have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.value_statistics import RunningStatistics
from cryobridge.wrappers.formats.volume_writer import VolumeWriter, stored_type
from cryobridge.wrappers.formats.whole_file import whole_file

VOLUME = (20 * np.random.default_rng(3).standard_normal((6, 7, 8))).astype(np.float32)


@pytest.fixture(params=[(1, 2, 3), (3, 1, 2)], ids=str)
def like(request: pytest.FixtureRequest, tmp_path: Path) -> mrc.MrcHeader:
    """A volume with a position of its own, its axes stored in some order."""
    axes = request.param
    stored = VOLUME.transpose([3 - axis for axis in reversed(axes)])
    with mrcfile.new(tmp_path / "like.mrc") as file:
        file.set_data(np.ascontiguousarray(stored))
        file.header.mapc, file.header.mapr, file.header.maps = axes
        file.header.mx, file.header.my, file.header.mz = 8, 7, 6
        file.header.cella = (8 * 2.0, 7 * 3.0, 6 * 4.0)
        file.header.nxstart, file.header.nystart, file.header.nzstart = 5, -6, 7
        file.header.origin = (10.5, 20.5, -30.5)
    return mrc.read_header(tmp_path / "like.mrc")


@contextmanager
def writing(path: Path, like: mrc.MrcHeader, dtype: str, **later: bool) -> Iterator[VolumeWriter]:
    with whole_file(path) as descriptor:
        yield VolumeWriter(descriptor, like, dtype, path.name, **later)  # type: ignore[arg-type]


def write(path: Path, like: mrc.MrcHeader, dtype: str, volume: np.ndarray, **later: bool) -> None:
    with writing(path, like, dtype, **later) as writer:
        put_all(writer, volume)
        writer.finish()


def put_all(writer: VolumeWriter, volume: np.ndarray) -> None:
    """In an order of no sense."""
    for y, x in ((3, 4), (0, 0), (3, 0), (0, 4)):
        for z in (4, 0, 2):
            writer.put(z, y, x, volume[z : z + 2, y : y + (3 if y == 0 else 4), x : x + 4])


def test_windows_that_overlap_are_added(tmp_path: Path, like: mrc.MrcHeader) -> None:
    path = tmp_path / "made.mrc"
    with writing(path, like, "float16", scaled_later=True) as writer:
        writer.add(0, 0, 0, VOLUME[:4] * 0.25, 3 * 56)
        writer.add(1, 0, 0, VOLUME[1:] * 0.75, 3 * 56)
        writer.finish()
    expected = VOLUME * np.array([0.25, 1, 1, 1, 0.75, 0.75])[:, None, None]
    np.testing.assert_allclose(mrc.read(path)[0], expected, atol=0.05)
    with writing(tmp_path / "other.mrc", like, "float32") as writer:
        with pytest.raises(ValueError, match="can be added to"):
            writer.add(0, 0, 0, VOLUME, VOLUME.size)
        put_all(writer, VOLUME)
        writer.finish()


@pytest.mark.parametrize("scaled_later", [False, True])
@pytest.mark.parametrize(("dtype", "off", "mode"), [("float32", 0, 2), ("float16", 0.04, 12), ("int8", 0.5, 0)])
def test_windows_in_any_order_make_the_volume(
    tmp_path: Path, like: mrc.MrcHeader, dtype: str, off: float, mode: int, scaled_later: bool
) -> None:
    path = tmp_path / "made.mrc"
    with writing(path, like, dtype, scaled_later=scaled_later) as writer:
        put_all(writer, VOLUME)
        gain, offset = (0.5, 3.0) if scaled_later else (1.0, 0.0)
        writer.finish(gain, offset) if scaled_later else writer.finish()
    found, header = mrc.read(path, name="made", finite=True)
    np.testing.assert_allclose(found, gain * VOLUME + offset, atol=off, rtol=1e-6)
    assert (header.axes, header.stored_shape, header.position) == (like.axes, like.stored_shape, like.position)
    assert header.voxel_size_A == pytest.approx((4.0, 3.0, 2.0))
    if dtype != "float16":  # of which mrcfile itself overflows when it checks the deviation
        assert mrcfile.validate(path, print_file=StringIO())
    with mrcfile.open(path) as opened:
        assert opened.header.mode == mode
        assert opened.header.dmin == pytest.approx(found.min())
        assert opened.header.dmax == pytest.approx(found.max())
        assert opened.header.dmean == pytest.approx(found.mean(dtype=float), rel=1e-4)
        assert opened.header.rms == pytest.approx(found.std(dtype=float), rel=1e-4)


def test_bytes_without_room_are_counted(tmp_path: Path, like: mrc.MrcHeader) -> None:
    with writing(tmp_path / "made.mrc", like, "int8") as writer:
        writer.put(0, 0, 0, 10 * VOLUME)
        writer.finish()
    wanted = np.clip(np.rint(10 * VOLUME), -128, 127)
    assert writer.clipped == np.count_nonzero(np.rint(10 * VOLUME) != wanted) > 0
    np.testing.assert_array_equal(mrc.read(tmp_path / "made.mrc")[0], wanted)


@pytest.mark.parametrize(
    ("dtype", "value", "sentence"),
    [("float16", 7e4, "do not fit into float16"), ("float32", np.nan, "NaN"), ("int8", np.inf, "NaN or infinite")],
)
@pytest.mark.parametrize("scaled_later", [False, True])
def test_what_cannot_be_stored_is_one_sentence_and_no_file(
    tmp_path: Path, like: mrc.MrcHeader, dtype: str, value: float, sentence: str, scaled_later: bool
) -> None:
    volume = VOLUME.copy()
    volume[2, 2, 2] = value
    path = tmp_path / "made.mrc"
    with pytest.raises(InputInvalid, match=sentence):
        write(path, like, dtype, volume, scaled_later=scaled_later)
    assert [entry.name for entry in tmp_path.iterdir()] == ["like.mrc"]


def test_a_volume_with_holes_is_a_mistake(tmp_path: Path, like: mrc.MrcHeader) -> None:
    with writing(tmp_path / "x.mrc", like, "float32") as writer:
        writer.put(0, 0, 0, VOLUME[:2])
        with pytest.raises(ValueError, match="voxels of a volume"):
            writer.finish()
        with pytest.raises(ValueError, match="a block"):
            writer.put(5, 0, 0, VOLUME[:2])


def test_statistics_of_parts_are_those_of_all() -> None:
    running = RunningStatistics()
    values = 1e6 + np.random.default_rng(4).standard_normal(1000)
    for part in np.split(values, [1, 10, 10, 500]):
        running.add(part)
    found = running.found()
    assert found.deviation == pytest.approx(values.std(), rel=1e-9)
    assert (found.least, found.most) == (values.min(), values.max())
    with pytest.raises(ValueError, match="nothing"):
        RunningStatistics().found()


def test_a_volume_is_stored_as_another_was() -> None:
    types = {"<f4": "float32", ">f2": "float16", "i1": "int8", "u1": "float32", "<i2": "float32", "<u2": "float32"}
    assert {name: stored_type(np.dtype(name)) for name in types} == types
