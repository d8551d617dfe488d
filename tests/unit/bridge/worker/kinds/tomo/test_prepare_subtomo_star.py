"""`tomo.prepare_subtomo_star` as the job runner does it: any folder of cubes becomes IsoNet's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.map_jobs import run_map_job
from support.tomogram_files import with_cell, write_tomogram

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.subtomo_table import SubtomoTable, read_subtomo_table

KIND = "tomo.prepare_subtomo_star"


def folder_of(tmp_path: Path, *sizes: int) -> Path:
    for number, size in enumerate(sizes):
        write_tomogram(tmp_path / "subtomo" / f"s_{number:06d}.mrc", (size, size, size))
    return tmp_path / "subtomo"


def run(tmp_path: Path, folder: Path, **options: Any) -> tuple[SubtomoTable, dict[str, Any]]:
    result, _ = run_map_job(KIND, tmp_path / "out", {"folder": folder}, options)
    return read_subtomo_table(tmp_path / "out" / "subtomo.star"), result


@pytest.mark.parametrize(("size", "cube"), [(24, 16), (32, 16), (48, 32), (64, 32), (80, 48), (96, 64)])
def test_the_cube_is_two_thirds_of_the_crop_by_isonets_rule(tmp_path: Path, size: int, cube: int) -> None:
    table, _ = run(tmp_path, folder_of(tmp_path, size))
    assert (table.cube_size, table.crop_size) == (cube, size)
    assert cube == int(size / 1.5 + 1) // 16 * 16


def test_every_subtomogram_is_a_row(tmp_path: Path) -> None:
    table, _ = run(tmp_path, folder_of(tmp_path, 24, 24), cube_size=16, pixel_size=13.3)
    assert [row.image.name for row in table.subtomograms] == ["s_000000.mrc", "s_000001.mrc"]
    assert [(row.index, row.pixel_size_A) for row in table.subtomograms] == [("1", 13.3), ("2", 13.3)]
    assert all(row.image.is_file() for row in table.subtomograms)


def test_a_cube_without_room_is_replaced_and_it_is_said(tmp_path: Path) -> None:
    table, result = run(tmp_path, folder_of(tmp_path, 32), cube_size=32)
    assert table.cube_size == 16
    assert any("A cube of 32 has no room" in line for line in result["statements"])


def test_a_voxel_size_that_no_header_has_is_isonets_default(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 24, 24)
    with_cell(folder / "s_000001.mrc", 0, 0, 0)
    table, result = run(tmp_path, folder)
    assert [row.pixel_size_A for row in table.subtomograms] == [10, 10]
    assert any("1 subtomograms have no voxel size" in line for line in result["statements"])


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 24)
    (folder / "bad.mrc").write_bytes(b"bad")
    table, result = run(tmp_path, folder)
    assert len(table.subtomograms) == 1
    assert any("bad.mrc" in line for line in result["statements"])


def test_subtomograms_that_no_training_can_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="most others 24"):
        run(tmp_path, folder_of(tmp_path / "mixed", 24, 24, 32))
    with pytest.raises(InputInvalid, match="too small for a cube of 16"):
        run(tmp_path, folder_of(tmp_path / "small", 16))
    write_tomogram(tmp_path / "long" / "a.mrc", (24, 24, 32))
    with pytest.raises(InputInvalid, match="32 x 24 x 24 voxels; subtomograms are cubic"):
        run(tmp_path, tmp_path / "long")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputInvalid, match="holds no subtomograms"):
        run(tmp_path, tmp_path / "empty")
