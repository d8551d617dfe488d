"""The volume of a row is its file, or the mean of its halves, with a voxel size that can be believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.tomogram_tables import SHAPE, grains, write_tomogram

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.table import Tomogram
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, opened_mask, volume_paths


@pytest.fixture
def halves(tmp_path: Path) -> Tomogram:
    one, two = (write_tomogram(tmp_path / f"{number}.mrc", grains(number)) for number in (1, 2))
    return Tomogram(0, "1", half1=one, half2=two, source="t.star")


def test_two_halves_are_read_as_their_mean(halves: Tomogram) -> None:
    mean = (grains(1) + grains(2)) / 2
    with TomogramVolume(halves, volume_paths(halves)) as volume:
        assert volume.shape == SHAPE
        assert [path.name for path in volume.paths] == ["1.mrc", "2.mrc"]
        np.testing.assert_allclose(volume.sections(3, 9), mean[3:9], rtol=1e-6)
        np.testing.assert_allclose(
            volume.mirrored(((-2, 3), (0, 28), (4, 8))), np.pad(mean, ((2, 0), (0, 0), (0, 0)), "symmetric")[:5, :, 4:8]
        )
        found = volume.statistics()
        assert (found.mean, found.deviation) == pytest.approx((mean.mean(dtype=float), mean.std(dtype=float)), rel=1e-6)
        sections = volume.middle_sections()
        np.testing.assert_allclose(sections[1], mean[:, 14], rtol=1e-6)
        np.testing.assert_allclose(sections[2], mean[:, :, 16], rtol=1e-6)


def test_a_deconvolved_file_goes_before_the_whole_one_and_that_before_halves(tmp_path: Path) -> None:
    names = {name: tmp_path / f"{name}.mrc" for name in ("full", "half1", "half2", "deconv")}
    row = Tomogram(0, "1", **names, source="t.star")
    assert volume_paths(row, deconvolved=True) == (names["deconv"],)
    assert volume_paths(row) == (names["full"],)
    assert volume_paths(Tomogram(0, "1", half1=names["half1"], half2=names["half2"])) == (
        names["half1"],
        names["half2"],
    )
    with pytest.raises(InputInvalid, match="row 1 has one half of a tomogram only"):
        volume_paths(Tomogram(0, "1", half1=names["half1"], source="t.star"))


@pytest.mark.parametrize(
    ("of_header_A", "of_table_A", "used_A", "written_A", "said"),
    [
        (10.0, None, 10.0, 10.0, None),
        (10.0, 10.02, 10.02, 10.0, None),
        (10.0, 12.0, 12.0, 10.0, "header says 10 A, the table 12 A"),
        (0.0, 12.0, 12.0, 12.0, None),
        (1.0, 12.0, 12.0, 12.0, None),
        (1.0, None, None, 1.0, None),
        (0.9, None, 0.9, 0.9, "is unusual for a tomogram"),
        (10.0, 60.0, 60.0, 10.0, "is unusual for a tomogram"),
    ],
)
def test_the_tables_voxel_size_is_used_and_the_headers_is_kept_if_it_is_one(
    tmp_path: Path,
    of_header_A: float,
    of_table_A: float | None,
    used_A: float | None,
    written_A: float,
    said: str | None,
) -> None:
    path = write_tomogram(tmp_path / "a.mrc", grains(1), of_header_A)
    row = Tomogram(0, "1", full=path, pixel_size_A=of_table_A, source="t.star")
    with TomogramVolume(row, (path,)) as volume:
        assert volume.pixel_size_A == pytest.approx(used_A)
        assert volume.header.voxel_size_A == pytest.approx((written_A,) * 3)
        assert any(said in line for line in volume.remarks) if said else not volume.remarks


def test_halves_of_two_sizes_are_refused(halves: Tomogram) -> None:
    assert halves.half2 is not None
    write_tomogram(halves.half2, grains(2, (20, 28, 30)))
    with pytest.raises(InputInvalid, match=r"2.mrc: has 30 x 28 x 20 voxels, .*1.mrc has 32 x 28 x 20"):
        TomogramVolume(halves, volume_paths(halves))


def test_a_mask_is_opened_if_there_is_one(tmp_path: Path) -> None:
    path = write_tomogram(tmp_path / "mask.mrc", np.ones(SHAPE, np.int8))
    with opened_mask(Tomogram(0, "1"), SHAPE) as mask:
        assert mask is None
    with opened_mask(Tomogram(0, "1", mask=path), SHAPE) as mask:
        assert mask is not None
        assert mask.sections(0, 20).min() == 1
