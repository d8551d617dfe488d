"""A second wedge in a result is warned of in one sentence that names its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.halved_tomogram import halves, truth, write_halves
from support.map_jobs import run_map_job

from cryobridge.bridge.worker.tomograms import wedge_correction
from cryobridge.bridge.worker.tomograms.ghost_words import ghost_numbers, ghost_warnings, sectors_told
from cryobridge.core.tomogram import SectorRatios, WedgeCorrection, frequencies


def ratios(changed: dict[tuple[int, int, int], float]) -> SectorRatios:
    values = torch.ones(2, 3, 18, dtype=torch.float64)
    for place, value in changed.items():
        values[place] = value
    return SectorRatios(values, values, values)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {(0, 1, 12): 0.2, (0, 1, 13): 0.1},
            "a hole from 30 to 50 degrees about the axis x, where something was measured, that the data do not explain "
            "(0.10 of the amplitude that the data have there)",
        ),
        (
            {(1, 0, 17): 4.0},
            "an excess from 80 to 90 degrees about the axis y, of what was filled in, that the data do not explain "
            "(4.00 of the amplitude beside it)",
        ),
    ],
)
def test_a_ghost_is_one_sentence_with_its_place(changed: dict[tuple[int, int, int], float], says: str) -> None:
    (line,) = ghost_warnings("ts1", ghost_numbers(ratios(changed)))
    assert line.startswith("ts1: the spectrum of the result has ")
    assert says in line
    assert ". " not in line


def test_nothing_is_said_where_all_sectors_are_alike_or_none_can_be_told() -> None:
    alike = ghost_numbers(ratios({(0, 0, 3): 0.9}))
    assert ghost_warnings("ts1", alike) == []
    assert sectors_told(alike) == "sectors of the spectrum, measured 0.90 to 1.00, filled 1.00 to 1.00"
    nothing = torch.full((2, 3, 18), float("nan"), dtype=torch.float64)
    unknown = ghost_numbers(SectorRatios(nothing, nothing, nothing))
    assert ghost_warnings("ts1", unknown) == []
    assert sectors_told(unknown) == "sectors of the spectrum cannot be told"


def test_a_correction_that_empties_a_sector_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_halves(tmp_path, "ts1", *halves(truth((32, 48, 48))))

    honest = wedge_correction.corrected

    def with_a_hole(*given: Any) -> WedgeCorrection:
        found = honest(*given)
        kz, ky, _ = frequencies(given[1].shape)
        angle = torch.rad2deg(torch.atan2(torch.where(ky < 0, -kz, kz), ky.abs()))
        return replace(found, spectrum=found.spectrum * torch.where((angle > 30) & (angle < 60), 0.1, 1.0))

    monkeypatch.setattr(wedge_correction, "corrected", with_a_hole)
    inputs = {"tomograms": tmp_path / "even", "odd": tmp_path / "odd"}
    options = {"start": "untrained", "base_width": 2, "cube_size": 16, "batch": 2, "steps": 1}
    result, _ = run_map_job("tomo.correct", tmp_path / "out", inputs, options)
    said = [line for line in result["statements"] if "second wedge that the network made up" in line]
    assert result["metrics"]["ghost_wedges"] == len(said) == 1
    assert "a hole from" in said[0]
    assert "about the axis x" in said[0]
    assert said[0].split(": ")[1] in (tmp_path / "out" / "report.html").read_text()
