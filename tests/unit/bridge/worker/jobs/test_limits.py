"""Resolutions that the voxels or the box cannot hold are refused, in one sentence, by one rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge.worker.jobs.limits import clipped_to_grid, within_grid
from cryobridge.schemas.errors import InputInvalid

MAP = Path("half1.mrc")


@pytest.mark.parametrize("value_A", [4.0, 5.0, 48.0])
def test_what_the_grid_holds_is_taken_as_it_is(value_A: float) -> None:
    assert within_grid("limit_resolution_A", value_A, MAP, 24, 2.0) == value_A


@pytest.mark.parametrize(("value_A", "used_A"), [(3.998, 4.0), (48.02, 48.0)])
def test_a_rounded_border_is_the_border(value_A: float, used_A: float) -> None:
    assert within_grid("limit_resolution_A", value_A, MAP, 24, 2.0) == used_A


@pytest.mark.parametrize(
    ("value_A", "why"), [(3.9, "beyond Nyquist.*--apix"), (0.4, "beyond Nyquist"), (50, "so coarse")]
)
def test_what_it_does_not_hold_is_refused(value_A: float, why: str) -> None:
    with pytest.raises(
        InputInvalid, match=rf"half1\.mrc: limit_A {value_A:g} is not between 48 A \(its box\) and 4 A \(Nyq.*{why}"
    ):
        within_grid("limit_A", value_A, MAP, 24, 2.0)


def test_a_kind_may_need_more_than_one_shell() -> None:
    assert within_grid("threshold_A", 24.0, MAP, 24, 2.0, first_shell=2) == 24.0
    with pytest.raises(InputInvalid, match=r"24 A \(shell 2\)"):
        within_grid("threshold_A", 30.0, MAP, 24, 2.0, first_shell=2)


def test_a_default_ends_with_the_grid() -> None:
    assert [clipped_to_grid(value, 24, 2.0) for value in (1.0, 10.0, 100.0)] == [4.0, 10.0, 48.0]
