"""`tomo.resize`: the same waves at another voxel size, in the same place, and a table of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from support.map_jobs import run_map_job
from support.tomogram_tables import ORIGIN, SHAPE, grains, tomograms, write_table, write_tomogram

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import read_tomogram_table


def resize(star: Path, out: Path, **options: Any) -> dict[str, Any]:
    return run_map_job("tomo.resize", out, {"star": star}, options)[0]


def waves(shape: tuple[int, int, int], voxel_A: float) -> np.ndarray:
    """Of 150 and 200 A, at places in Angstrom."""
    z, y, x = np.meshgrid(*(voxel_A * np.arange(size) for size in shape), indexing="ij")
    return (5 + np.cos(2 * np.pi * (z / 150 + 1 / 8)) * np.cos(2 * np.pi * (y + 20) / 200) + np.sin(x / 40)).astype(
        "f4"
    )


@pytest.mark.parametrize(("apix", "shape"), [(15.0, (40, 53, 48)), (8.0, (75, 100, 90)), (10.0, (60, 80, 72))])
def test_waves_stay_where_they_are(tmp_path: Path, apix: float, shape: tuple[int, int, int]) -> None:
    write_tomogram(tmp_path / "a.mrc", waves((60, 80, 72), 10.0))
    star = write_table(tmp_path, [{"rlnIndex": 1, "rlnMicrographName": "a.mrc", "rlnPixelSize": 10}])
    resize(star, tmp_path / "out", apix=apix)
    found, header = mrc.read(tmp_path / "out" / "a_resized.mrc")
    assert found.shape == shape
    assert header.voxel_size_A == pytest.approx((apix,) * 3, rel=1e-5)
    assert header.position.origin_A == pytest.approx(tuple(reversed(ORIGIN)))
    off = np.abs(found - waves(shape, apix))
    assert off[3:-3, 3:-3, 3:-3].max() < 0.05
    assert off.max() < 0.4
    (row,) = read_tomogram_table(tmp_path / "out" / "tomograms_resized.star").tomograms
    assert row.full == tmp_path / "out" / "a_resized.mrc"
    assert row.pixel_size_A == pytest.approx(apix, rel=1e-5)


def test_halves_come_along_and_what_is_of_the_old_grid_does_not(tmp_path: Path) -> None:
    for name in ("a.mrc", "a_EVN.mrc", "a_ODD.mrc", "mask.mrc"):
        write_tomogram(tmp_path / name, grains(len(name), (24, 28, 32)))
    row = {
        "rlnIndex": 1,
        "rlnTomoName": "a.mrc",
        "rlnTomoReconstructedTomogramHalf1": "a_EVN.mrc",
        "rlnTomoReconstructedTomogramHalf2": "a_ODD.mrc",
        "rlnMaskName": "mask.mrc",
        "rlnPixelSize": 10,
        "rlnMine": "kept",
    }
    star = write_table(tmp_path, [row])
    before = star.read_bytes()
    result = resize(star, tmp_path / "out", apix=20)
    (made,) = read_tomogram_table(tmp_path / "out" / "tomograms_resized.star").tomograms
    assert [path and path.name for path in (made.full, made.half1, made.half2, made.mask)] == [
        "a_resized.mrc",
        "a_half1_resized.mrc",
        "a_half2_resized.mrc",
        None,
    ]
    assert made.values["rlnMine"] == "kept"
    assert any("rlnMaskName are of the old voxel size" in line for line in result["statements"])
    assert star.read_bytes() == before


def test_half_precision_stays_half_precision(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "tomo1.mrc", grains(1).astype(np.float16))
    row = {"rlnIndex": 1, "rlnMicrographName": "tomo1.mrc", "rlnPixelSize": 10}
    resize(write_table(tmp_path, [row]), tmp_path / "out", apix=20, output_type="input")
    with mrcfile.open(tmp_path / "out" / "tomo1_resized.mrc") as made:
        assert int(made.header.mode) == 12


def unknown_size(folder: Path) -> None:
    write_tomogram(folder / "tomo1.mrc", grains(1), 1.0)
    write_table(folder, [{"rlnIndex": 1, "rlnMicrographName": "tomo1.mrc"}])


def with_nan(folder: Path) -> None:
    volume = grains(1)
    volume[10, 2, 3] = np.nan
    write_tomogram(folder / "tomo1.mrc", volume)


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (unknown_size, {}, "row 1: neither 'rlnPixelSize' nor the header"),
        (lambda folder: None, {"apix": 150}, "from 10 to 150 A it would be 2 x 2 x 1 voxels"),
        (with_nan, {}, "NaN or infinite values"),
    ],
)
def test_what_cannot_be_resized_is_one_sentence_and_no_file(
    tmp_path: Path, spoil: Callable[[Path], None], options: dict[str, Any], sentence: str
) -> None:
    star = tomograms(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputInvalid, match=sentence):
        resize(star, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*.mrc"))


def test_a_tomogram_comes_back_from_finer_voxels(tmp_path: Path) -> None:
    star = tomograms(tmp_path)
    resize(star, tmp_path / "fine", apix=5)
    resize(tmp_path / "fine" / "tomograms_resized.star", tmp_path / "back", apix=10)
    found = mrc.read(tmp_path / "back" / "tomo1_resized_resized.mrc")[0]
    assert found.shape == SHAPE
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(found[inner], grains(1)[inner], atol=0.1)
