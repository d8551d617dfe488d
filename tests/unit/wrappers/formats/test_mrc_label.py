"""The first label of a map's header."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.mrc_label import write_label


def test_a_label_is_read_by_others_and_the_map_stays(tmp_path: Path) -> None:
    volume = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    mrc.write_atomically(tmp_path / "map.mrc", volume, 2.0)
    write_label(tmp_path / "map.mrc", "for display only")
    with mrcfile.open(tmp_path / "map.mrc") as opened:
        assert opened.header.label[0].decode().strip() == "for display only"
        assert np.array_equal(opened.data, volume)


@pytest.mark.parametrize("text", ["x" * 81, "Å"])
def test_what_fits_in_no_label_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="at most 80 ASCII characters"):
        write_label(tmp_path / "map.mrc", text)
