"""Tables of subtomograms of IsoNet are read back as they were written, and refused where no training can take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.subtomo_table import read_subtomo_table, subtomo_star


def written(folder: Path, text: str) -> Path:
    path = folder / "subtomo.star"
    path.write_text(text)
    return path


def test_a_table_is_read_back_with_columns_of_others(tmp_path: Path) -> None:
    images = [tmp_path / "subtomo" / "a 1.mrc", Path("/far/b.mrc")]
    text = subtomo_star(
        images,
        tmp_path / "subtomo.star",
        cube_size=64,
        crop_size=80,
        pixel_size_A=[10.0, 9.5],
        more={"rlnMine": [1, 2]},
    )
    assert '"subtomo/a 1.mrc"' in text
    table = read_subtomo_table(written(tmp_path, text))
    assert (table.cube_size, table.crop_size) == (64, 80)
    assert [row.image for row in table.subtomograms] == images
    assert [row.pixel_size_A for row in table.subtomograms] == [10, 9.5]
    assert table.subtomograms[1].values["rlnMine"] == "2"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("64 80", "64.5 80", "row 1 has '64.5' as 'rlnCubeSize'"),
        ("64 80", "96 80", "row 2 has cube and crop 64 and 80, the first row 96 and 80"),
        ("rlnImageName", "rlnOther", "holds no table of subtomograms"),
        ("rlnCropSize", "rlnOther", "'nothing' as 'rlnCropSize'"),
    ],
)
def test_tables_of_no_use_are_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    images = [tmp_path / "a.mrc", tmp_path / "b.mrc"]
    text = subtomo_star(images, tmp_path / "subtomo.star", cube_size=64, crop_size=80, pixel_size_A=10.0)
    with pytest.raises(InputInvalid, match=said):
        read_subtomo_table(written(tmp_path, text.replace(old, new, 1)))
