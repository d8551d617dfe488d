"""What a kind declares to leave is held against what a job has left."""

from __future__ import annotations

from cryobridge.schemas.outputs import REPORT, Output, output_of, undeclared

OUTPUTS = (
    Output("map.mrc", "map", "map", "a map"),
    Output("class_*.mrc", "map", "classes", "a map for each class"),
    Output("mask.mrc", "mask", "mask", "a mask", always=False),
    REPORT,
)


def test_a_name_is_found_by_its_pattern() -> None:
    assert output_of(OUTPUTS, "class_07.mrc") is OUTPUTS[1]
    assert output_of(OUTPUTS, "mask.mrc") is OUTPUTS[2]
    assert output_of(OUTPUTS, "class_07.csv") is None


def test_what_is_as_declared_is_no_complaint() -> None:
    assert undeclared(OUTPUTS, ["map.mrc", "class_1.mrc", "class_2.mrc", "report.html"]) == []


def test_strangers_and_what_is_missing_are_complaints() -> None:
    assert undeclared(OUTPUTS, ["map.mrc", "notes.txt", "report.html"]) == [
        "notes.txt was written, but is not declared",
        "class_*.mrc is declared, but was not written",
    ]
