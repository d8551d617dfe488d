"""CryoSPARC's ids of particles, through RELION and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.wrappers.formats.star_columns import read_columns
from cryobridge.wrappers.particles.from_relion import cryosparc_table, is_read

HEAD = "data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n_rlnImageSize\n"


def test_a_selection_in_another_order_keeps_its_ids(tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text(f"{HEAD}_cryosparcUid\n3@a.mrcs 1.0 64 18446744073709551615\n1@a.mrcs 1.0 64 7\n")
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star")
    assert found.columns["uid"].tolist() == [2**64 - 1, 7]
    assert any("the 'uid' that it had in CryoSPARC" in line for line in found.remarks)


def test_particles_that_never_had_ids_get_the_same_ones_each_time(tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text(f"{HEAD}3@a.mrcs 1.0 64\n1@a.mrcs 1.0 64\n")
    (tmp_path / "q.star").write_text(f"{HEAD}1@a.mrcs 1.0 64\n3@a.mrcs 1.0 64\n")
    one, other = (
        cryosparc_table(read_columns(tmp_path / name, is_read), name).columns["uid"].tolist()
        for name in ("p.star", "q.star")
    )
    assert one == other[::-1]
    assert one[0] != one[1]


@pytest.mark.parametrize("ids", [("7", "7"), ("7", "x"), ("7", str(2**64)), ("7", "1.0"), ("7", "9" * 400)])
def test_ids_that_are_none_are_said_and_replaced(tmp_path: Path, ids: tuple[str, str]) -> None:
    rows = "".join(f"{row}@a.mrcs 1.0 64 {uid}\n" for row, uid in enumerate(ids, 1))
    (tmp_path / "p.star").write_text(f"{HEAD}_cryosparcUid\n{rows}")
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star")
    assert len(set(found.columns["uid"].tolist()) - {7}) == 2
    assert any("'cryosparcUid' is not an id for each" in line for line in found.remarks)
