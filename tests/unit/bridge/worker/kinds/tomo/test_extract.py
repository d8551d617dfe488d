"""`tomo.extract` cuts what lies there, inside the mask, and says where there is no room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.map_jobs import run_map_job
from support.tomogram_tables import ORIGIN, PIXEL_A, SHAPE, grains, tomograms, write_tomogram

from cryobridge.schemas.errors import InputInvalid, OptionsInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.subtomo_table import read_subtomo_table


def extract(star: Path, out: Path, **options: Any) -> dict[str, Any]:
    return run_map_job("tomo.extract", out, {"star": star}, {"cube_size": 8, "crop_size": 12, **options})[0]


def mask_file(folder: Path, *where: slice, shape: tuple[int, int, int] = SHAPE) -> str:
    mask = np.zeros(shape, np.int8)
    mask[where] = 1
    write_tomogram(folder / "mask.mrc", mask)
    return "mask.mrc"


def test_subtomograms_are_what_lies_there_and_the_table_says_where(tmp_path: Path) -> None:
    mask = mask_file(tmp_path, slice(8, 12), slice(10, 14), slice(7, 20))
    star = tomograms(tmp_path, 2, rlnMaskName=mask, rlnTiltMin=-48, rlnTiltMax=60)
    before = star.read_bytes()
    result = extract(star, tmp_path / "out", number_subtomos=7)
    table = read_subtomo_table(tmp_path / "out" / "subtomo.star")
    assert (len(table.subtomograms), table.cube_size, table.crop_size) == (14, 8, 12)
    assert result["metrics"]["subtomograms"] == 14
    volumes = {f"tomo{number}": grains(number) for number in (1, 2)}
    centres = {name: set() for name in volumes}  # type: dict[str, set[tuple[int, ...]]]
    for row in table.subtomograms:
        centre = tuple(int(float(row.values[f"rlnCoordinate{axis}"])) for axis in "ZYX")
        assert all(low <= at < high for at, low, high in zip(centre, (8, 10, 7), (12, 14, 20), strict=True))
        corner = [at - 6 for at in centre]
        part = tuple(slice(at, at + 12) for at in corner)
        found, header = mrc.read(row.image)
        np.testing.assert_array_equal(found, volumes[row.values["rlnTomoName"]][part])
        assert header.voxel_size_A == pytest.approx((PIXEL_A,) * 3)
        assert header.position.start == tuple(at + first for at, first in zip(corner, (5, -4, 3), strict=True))
        assert header.position.origin_A == pytest.approx(
            [PIXEL_A * at + first for at, first in zip(corner, reversed(ORIGIN), strict=True)]
        )
        assert (row.pixel_size_A, row.values["rlnTiltMin"], row.values["rlnTiltMax"]) == (PIXEL_A, "-48", "60")
        centres[row.values["rlnTomoName"]].add(centre)
    assert [len(found) for found in centres.values()] == [7, 7]
    assert centres["tomo1"] != centres["tomo2"]
    assert star.read_bytes() == before


@pytest.mark.parametrize(
    ("columns", "options", "count"),
    [({}, {}, 100), ({"rlnNumberSubtomo": 5}, {}, 5), ({"rlnNumberSubtomo": 5}, {"number_subtomos": 3}, 3)],
)
def test_how_many_is_said_by_the_command_else_by_the_table(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], count: int
) -> None:
    extract(tomograms(tmp_path, **columns), tmp_path / "out", **options)
    assert len(list((tmp_path / "out").glob("tomo1_*.mrc"))) == count
    assert (tmp_path / "out" / f"tomo1_{count:06d}.mrc").exists()


def test_the_crop_is_the_cube_and_room_to_rotate_it(tmp_path: Path) -> None:
    result = extract(tomograms(tmp_path), tmp_path / "out", cube_size=8, crop_size=None, pad=True, number_subtomos=1)
    assert result["options"]["crop_size"] == 24
    with pytest.raises(OptionsInvalid, match="crop_size 8 is smaller than cube_size 16"):
        extract(tomograms(tmp_path), tmp_path / "other", cube_size=16, crop_size=8)
    with pytest.raises(OptionsInvalid, match="multiple of 8"):
        extract(tomograms(tmp_path), tmp_path / "other", cube_size=20, crop_size=40)


def test_a_thin_tomogram_is_mirrored_if_that_is_wanted(tmp_path: Path) -> None:
    star = tomograms(tmp_path)
    write_tomogram(tmp_path / "tomo1.mrc", grains(1, (6, 28, 32)))
    extract(star, tmp_path / "out", pad=True, number_subtomos=4)
    padded = np.pad(grains(1, (6, 28, 32)), 12, mode="symmetric")
    for row in read_subtomo_table(tmp_path / "out" / "subtomo.star").subtomograms:
        corner = [int(float(row.values[f"rlnCoordinate{axis}"])) - 6 + 12 for axis in "ZYX"]
        wanted = padded[tuple(slice(at, at + 12) for at in corner)]
        np.testing.assert_array_equal(mrc.read(row.image)[0], wanted)


def test_places_of_a_file_are_taken_where_a_crop_fits(tmp_path: Path) -> None:
    (tmp_path / "places.txt").write_text("16 14 10\n1 14 10\n20.4 12 9\n")
    result = extract(tomograms(tmp_path, rlnBoxFile="places.txt"), tmp_path / "out")
    assert result["metrics"]["subtomograms"] == 2
    assert any("1 of 3 places are too near" in line for line in result["statements"])
    found = mrc.read(tmp_path / "out" / "tomo1_000002.mrc")[0]
    np.testing.assert_array_equal(found, grains(1)[3:15, 6:18, 14:26])


def test_few_places_are_taken_twice_and_that_is_said(tmp_path: Path) -> None:
    mask = mask_file(tmp_path, slice(8, 9), slice(10, 12), slice(9, 11))
    result = extract(tomograms(tmp_path, rlnMaskName=mask), tmp_path / "out", number_subtomos=6)
    assert any("only 4 places for 6 subtomograms" in line for line in result["statements"])


def thin(folder: Path) -> str:
    write_tomogram(folder / "tomo1.mrc", grains(1, (6, 28, 32)))
    return "None"


def of_another_size(folder: Path) -> str:
    return mask_file(folder, slice(2, 4), shape=(10, 14, 16))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (thin, r"has 6 voxels along z, and a crop of 12 needs 12; give .* at most 6, or set 'pad'"),
        (lambda folder: mask_file(folder, slice(0, 0)), "mask.mrc: is empty; make it again"),
        (
            lambda folder: mask_file(folder, slice(0, 4)),
            r"leaves no place for a crop of 12 voxels: along z it reaches from 0 to 3 and centres may lie from 6 to 14"
            r"; give a smaller cube_size and crop_size .at most 6.",
        ),
        (of_another_size, r"mask.mrc: has 16 x 14 x 10 voxels, its tomogram .tomo1. has 32 x 28 x 20"),
        (lambda folder: "gone.mrc", "row 1: .*gone.mrc: cannot be opened"),
    ],
)
def test_where_there_is_no_room_one_sentence_says_why_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[Path], str], sentence: str
) -> None:
    star = tomograms(tmp_path)
    mask = spoil(tmp_path)
    star.write_text(
        star.read_text()
        .replace("_rlnDefocus #4", "_rlnDefocus #4\n_rlnMaskName #5")
        .replace("38000.0", f"38000.0 {mask}")
    )
    with pytest.raises(InputInvalid, match=sentence):
        extract(star, tmp_path / "out")
    assert not (tmp_path / "out").exists()
