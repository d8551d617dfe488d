"""The fresh-process map: in place and whole with status 0, or absent with one sentence and status 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryobridge.core.relion.wiener import reconstruct
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.relion import standard, sums

pytestmark = pytest.mark.shared


def star_of(folder: Path) -> Path:
    return folder / "Refine3D" / "job001" / "run_it010_half1_class001_external_reconstruct.star"


def test_map_is_the_one_of_the_calling_relions_style(captured_iteration: Path, tmp_path: Path) -> None:
    assert standard.main([str(star_of(captured_iteration)), "--output", str(tmp_path / "map.mrc")]) == 0
    call = sums.read_call(star_of(captured_iteration))
    d = call.description
    expected = reconstruct(call.data, call.weight, d.geometry, d.tau2, fudge=d.fudge, style="relion3")
    np.testing.assert_array_equal(mrc.read(tmp_path / "map.mrc")[0], expected.numpy())


def test_damaged_input_gives_no_map_and_one_sentence(
    captured_iteration: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weight = star_of(captured_iteration).with_name(star_of(captured_iteration).stem + "_weight.mrc")
    weight.write_bytes(weight.read_bytes()[:-8])
    assert standard.main([str(star_of(captured_iteration)), "--output", str(tmp_path / "map.mrc")]) == 1
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert "weight.mrc: holds" in caplog.text
    assert list(tmp_path.glob("*map.mrc*")) == []


def test_unwritable_output_is_named(captured_iteration: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output = tmp_path / "absent" / "map.mrc"
    assert standard.main([str(star_of(captured_iteration)), "--output", str(output)]) == 1
    assert f"{output}: cannot be written" in caplog.text


def test_wrong_usage_is_status_2() -> None:
    with pytest.raises(SystemExit) as caught:
        standard.main(["x.star"])
    assert caught.value.code == 2
