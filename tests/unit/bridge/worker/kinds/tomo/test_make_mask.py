"""`tomo.make_mask` finds what is there, by percentages of the job, else of the table, and inside an outline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from scipy import ndimage
from support.map_jobs import run_map_job
from support.tomogram_tables import SHAPE, grains, tomograms, write_table, write_tomogram

from cryobridge.bridge.worker.tomograms import mask_blocks
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import read_tomogram_table


def make_mask(star: Path, out: Path, boundary: Path | None = None, **options: Any) -> dict[str, Any]:
    inputs = {"star": star, **({"mask_boundary": boundary} if boundary else {})}
    return run_map_job("tomo.make_mask", out, inputs, options)[0]


def mask_of(out: Path, name: str = "tomo1") -> np.ndarray:
    return mrc.read(out / f"{name}_mask.mrc")[0]


def direct(volume: np.ndarray, patch: int, density: float, spread: float) -> np.ndarray:
    """The documented recipe by scipy on the whole volume, without the ends of odd axes."""
    even = volume[tuple(slice(size // 2 * 2) for size in volume.shape)]
    z, y, x = (size // 2 for size in even.shape)
    smooth = ndimage.gaussian_filter(even.reshape(z, 2, y, 2, x, 2).mean((1, 3, 5)).astype(float), patch / 2)
    most = ndimage.maximum_filter(-smooth, 2 * patch + 1)
    ones = ndimage.uniform_filter(np.ones_like(smooth), 2 * patch + 1, mode="constant")
    mean, square = (ndimage.uniform_filter(one, 2 * patch + 1, mode="constant") / ones for one in (smooth, smooth**2))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    mask = (most > np.percentile(most, 100 - density)) & (deviation > np.percentile(deviation, 100 - spread))
    full = np.zeros(volume.shape)
    full[: 2 * z, : 2 * y, : 2 * x] = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return full


@pytest.mark.parametrize("block", [160, 8])
@pytest.mark.parametrize("shape", [SHAPE, (21, 27, 33)])
def test_the_mask_is_that_of_the_recipe_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], block: int
) -> None:
    monkeypatch.setattr(mask_blocks, "BLOCK", block)
    volume = grains(3, shape)
    write_tomogram(tmp_path / "tomo1.mrc", volume)
    star = write_table(tmp_path, [{"rlnIndex": 1, "rlnMicrographName": "tomo1.mrc", "rlnPixelSize": 10}])
    result = make_mask(star, tmp_path / "out", patch_size=1, density_percentage=60, std_percentage=70)
    found, wanted = mask_of(tmp_path / "out"), direct(volume, 1, 60, 70)
    assert np.mean(found != wanted) < 0.002
    assert result["metrics"]["inside"] == pytest.approx(found.mean(), abs=1e-4)
    with mrcfile.open(tmp_path / "out" / "tomo1_mask.mrc") as made, mrcfile.open(tmp_path / "tomo1.mrc") as given:
        assert int(made.header.mode) == 0
        assert set(np.unique(made.data)) == {0, 1}
        assert made.header.origin == given.header.origin
        assert made.voxel_size == given.voxel_size


@pytest.mark.parametrize(
    ("columns", "options", "used"),
    [
        ({}, {}, (50, 50)),
        ({"rlnMaskDensityPercentage": 80, "rlnMaskStdPercentage": 30}, {}, (80, 30)),
        ({"rlnMaskDensityPercentage": 80}, {"density_percentage": 40, "std_percentage": 100}, (40, 100)),
    ],
)
def test_the_command_goes_before_the_table_and_the_table_before_the_default(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], used: tuple[float, float]
) -> None:
    star = tomograms(tmp_path, **columns)
    make_mask(star, tmp_path / "out", patch_size=1, **options)
    (row,) = read_tomogram_table(star).tomograms
    assert row.mask == tmp_path / "out" / "tomo1_mask.mrc"
    assert (row.number("rlnMaskDensityPercentage"), row.number("rlnMaskStdPercentage")) == used
    wanted = direct(grains(1), 1, used[0], used[1] if used[1] < 100 else 100)
    assert np.mean(mask_of(tmp_path / "out") != wanted) < 0.01


def test_ends_along_z_and_all_outside_an_outline_are_left_out(tmp_path: Path) -> None:
    star = tomograms(tmp_path)
    drawn = tmp_path / "outline.txt"
    drawn.write_text("7 5 3\n21 5 3\n21 23 3\n7 23 3\n")
    make_mask(star, tmp_path / "out", drawn, density_percentage=100, std_percentage=100, z_crop=0.2)
    mask = mask_of(tmp_path / "out")
    wanted = np.zeros(SHAPE)
    wanted[4:16, 6:24, 8:22] = 1  # centres of binned voxels within 2.5 to 11.5 and 3.5 to 10.5
    np.testing.assert_array_equal(mask, wanted)


def test_the_outline_of_the_row_goes_before_the_jobs(tmp_path: Path) -> None:
    (tmp_path / "row.txt").write_text("0 0 4\n0 0 15\n")
    (tmp_path / "job.txt").write_text("0 0 0\n9 0 0\n9 9 0\n")
    star = tomograms(tmp_path, rlnMaskBoundary="row.txt")
    make_mask(star, tmp_path / "out", tmp_path / "job.txt", density_percentage=100, std_percentage=100)
    mask = mask_of(tmp_path / "out")
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == list(range(4, 18))


def test_a_deconvolved_tomogram_is_looked_at_where_there_is_one(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "other.mrc", grains(9))
    star = tomograms(tmp_path, rlnDeconvTomoName="other.mrc")
    make_mask(star, tmp_path / "out", patch_size=1)
    assert np.mean(mask_of(tmp_path / "out") != direct(grains(9), 1, 50, 50)) < 0.01
    make_mask(star, tmp_path / "raw", patch_size=1, use_deconv_tomo=False)
    assert np.mean(mask_of(tmp_path / "raw") != direct(grains(1), 1, 50, 50)) < 0.01


def two_points(folder: Path) -> Path:
    (folder / "outline.txt").write_text("0 0 0\n9 0 0\n")
    return folder / "outline.txt"


def outside(folder: Path) -> Path:
    (folder / "outline.txt").write_text("900 900 0\n990 900 0\n990 990 0\n")
    return folder / "outline.txt"


def with_nan(folder: Path) -> None:
    volume = grains(1)
    volume[1, 2, 3] = np.inf
    write_tomogram(folder / "tomo1.mrc", volume)


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (lambda folder: None, {"density_percentage": 0}, "its mask is empty: .* raise the percentages"),
        (outside, {}, "its mask is empty"),
        (two_points, {}, "has 2 points of an outline; draw at least 3"),
        (with_nan, {}, "NaN or infinite"),
        (lambda folder: write_tomogram(folder / "tomo1.mrc", np.ones(SHAPE, np.float32)) and None, {}, "one value"),
        (lambda folder: write_tomogram(folder / "tomo1.mrc", grains(1, (1, 9, 9))) and None, {}, "one voxel thick"),
    ],
)
def test_what_gives_no_mask_is_one_sentence_and_no_file(
    tmp_path: Path, spoil: Callable[[Path], Path | None], options: dict[str, Any], sentence: str
) -> None:
    star = tomograms(tmp_path)
    boundary = spoil(tmp_path)
    before = star.read_bytes()
    with pytest.raises(InputInvalid, match=sentence):
        make_mask(star, tmp_path / "out", boundary, **options)
    assert not list((tmp_path / "out").glob("*.mrc"))
    assert star.read_bytes() == before


def test_a_percentage_of_the_table_beyond_100_is_named_with_its_row(tmp_path: Path) -> None:
    star = tomograms(tmp_path, 2, rlnMaskStdPercentage=500)
    with pytest.raises(InputInvalid, match="row 1 has 500 as 'rlnMaskStdPercentage'"):
        make_mask(star, tmp_path / "out")
