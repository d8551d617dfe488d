"""The rows of a refinement, told in a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge.run_summary import RefinementRecords, failures, summary
from cryobridge.schemas import iterations
from cryobridge.schemas.iterations import IterationFigures, Row


def row(number: int, used: str = "standard", code: str = "not_due", seconds: float = 0.2, **more: str) -> Row:
    resolution = float(more["resolution"]) if "resolution" in more else None
    figures = IterationFigures(resolution_A=resolution)
    part = more.get("part", "class001")
    return iterations.row(number, part, used, figures=figures, seconds=seconds, code=code, why=more.get("why", ""))


RUN = [
    row(1),
    row(2, seconds=0.3, resolution="9.5"),
    row(3, "corrected", "corrected", 20.0, resolution="5.25"),
    row(4, "standard", "lost", 3.2, why="the daemon went away after 3.2 s"),
    row(5, "standard", "lost", 3.1, why="the daemon went away after 3.2 s"),
    row(6, "corrected", "corrected", 24.0, resolution="4.10"),
    row(7, "standard", "joined", 1.0, part="class001 joined"),
]


def put(records: RefinementRecords, rows: list[Row]) -> None:
    records.folder.mkdir(exist_ok=True)
    (records.folder / iterations.FILE_NAME).write_text(iterations.as_text(rows))


def test_a_run_in_a_few_lines() -> None:
    assert list(summary(RUN)) == [
        "iterations answered: 7; 2 corrected (iterations 3, 6), 3 with RELION's own map as planned, 2 with RELION's "
        "own map because something failed (iterations 4 to 5)",
        "failed (iterations 4 to 5): the daemon went away after 3.2 s (lost)",
        "last resolution 4.10 A (iteration 6, raw half-maps, FSC 0.143)",
        "51.8 s in all between call and map; the longest 24.0 s, in iteration 6",
    ]
    assert [one["iteration"] for one in failures(RUN)] == ["4", "5"]


def test_nothing_is_said_of_nothing() -> None:
    assert list(summary([])) == []


def test_many_reasons_are_counted_not_listed() -> None:
    rows = [row(number, "standard", "failed", why=f"reason {number}") for number in range(1, 10)]
    lines = list(summary(rows))
    assert sum(line.startswith("failed (iteration ") for line in lines) == 5
    assert "and 4 other reasons, see iterations.csv" in lines


@pytest.fixture
def records(tmp_path: Path) -> RefinementRecords:
    return RefinementRecords(tmp_path / "run")


def test_of_a_new_run_all_rows_count_even_those_that_are_as_before(tmp_path: Path, records: RefinementRecords) -> None:
    put(records, RUN)
    again = RefinementRecords(tmp_path / "run", first_iteration=1)
    assert again.new_rows() == []
    put(records, RUN[:2])
    assert again.new_rows() == RUN[:2]


def test_of_a_continued_run_only_its_own_iterations_count(tmp_path: Path, records: RefinementRecords) -> None:
    put(records, RUN[:5])
    continued = RefinementRecords(tmp_path / "run", first_iteration=6)
    put(records, RUN)
    assert [one["iteration"] for one in continued.new_rows()] == ["6", "7"]


def test_where_nobody_says_where_it_began_the_first_new_row_does(tmp_path: Path, records: RefinementRecords) -> None:
    put(records, RUN[:5])
    somewhere = RefinementRecords(tmp_path / "run")
    put(records, [*RUN[:3], row(4, "corrected", "corrected", 9.0), *RUN[5:]])
    assert [one["iteration"] for one in somewhere.new_rows()] == ["4", "6", "7"]


def test_a_damaged_file_holds_no_rows(records: RefinementRecords) -> None:
    records.folder.mkdir()
    (records.folder / iterations.FILE_NAME).write_bytes(b"\xff\xfe nonsense")
    assert records.new_rows() == []
