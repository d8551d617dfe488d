"""Cubes of a tomogram are those of the whole, in every order of axes and type, without reading it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from support.tomogram_files import write_tomogram

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.sample_cubes import sample_cubes


def with_axes(path: Path, *axes: int) -> Path:
    raw = bytearray(path.read_bytes())
    struct.pack_into("<3i", raw, 64, *axes)
    path.write_bytes(bytes(raw))
    return path


@pytest.mark.parametrize("axes", [(1, 2, 3), (1, 3, 2), (3, 1, 2)])
def test_cubes_are_parts_of_the_volume(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    path = with_axes(write_tomogram(tmp_path / "a.mrc", (30, 34, 40)), *axes)
    volume, header = mrc.read(path)
    cubes = sample_cubes(path, header, 24)
    assert cubes is not None
    assert cubes.shape == (9, 24, 24, 24)
    z = (volume.shape[0] - 24) // 2
    for at, (y, x) in enumerate((y, x) for y in (0.25, 0.5, 0.75) for x in (0.25, 0.5, 0.75)):
        y0, x0 = int(y * (volume.shape[1] - 24)), int(x * (volume.shape[2] - 24))
        assert np.array_equal(cubes[at], volume[z : z + 24, y0 : y0 + 24, x0 : x0 + 24])


def test_thin_and_broken_tomograms_give_none_or_one_sentence(tmp_path: Path) -> None:
    thin = write_tomogram(tmp_path / "thin.mrc", (20, 40, 40))
    assert sample_cubes(thin, mrc.read_header(thin)) is None
    whole = write_tomogram(tmp_path / "a.mrc", (24, 24, 24))
    header = mrc.read_header(whole)
    raw = whole.read_bytes()
    whole.write_bytes(raw[:1024] + struct.pack("<f", float("nan")) + raw[1028:])
    assert sample_cubes(whole, header) is None
    whole.write_bytes(raw[:5000])
    with pytest.raises(InputInvalid, match="cannot be read"):
        sample_cubes(whole, header)
