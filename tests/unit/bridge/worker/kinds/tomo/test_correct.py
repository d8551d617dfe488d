"""`tomo.correct`: a folder or a table in, tomograms with a filled wedge out; and no fill where there is no signal."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.halved_tomogram import CONTRAST, LEVEL, halves, likeness_in_wedge, truth, write_halves
from support.map_jobs import run_map_job
from support.tomogram_tables import write_table, write_tomogram

from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.tomograms import halves as halves_module
from cryobridge.core.tomogram import blocks, filtered, wedge_weight
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo import correct as correct_schema
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import read_tomogram_table

FAST = {"start": "untrained", "base_width": 2, "cube_size": 16, "batch": 2, "steps": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Halves of one tomogram; not to be changed."""
    made = tmp_path_factory.mktemp("tomograms")
    write_halves(made, "ts1", *halves(truth()))
    return made


def correct(source: Path, out: Path, odd: Path | None = None, **options: Any) -> tuple[dict[str, Any], list[str]]:
    inputs = {"tomograms": source} | ({} if odd is None else {"odd": odd})
    return run_map_job("tomo.correct", out, inputs, {"steps": 0, **options})


def read(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(mrc.read(path)[0], dtype=np.float32))


def test_the_wedge_is_filled_with_what_is_there_and_the_rest_stays(folder: Path, tmp_path: Path) -> None:
    options = {"steps": 2, "cube_size": 16, "batch": 2}
    result, _ = correct(folder / "even", tmp_path / "out", folder / "odd", **options)
    found, whole = read(tmp_path / "out" / "ts1_corrected.mrc"), truth()
    assert likeness_in_wedge(found, whole) > 0.35
    measured = wedge_weight(halves_module.Wedge.of_range(), whole.shape)
    inside = [filtered(one - LEVEL, measured) for one in (found, whole)]
    assert float((inside[0] * inside[1]).sum() / (inside[0].norm() * inside[1].norm())) > 0.85
    assert float(found.mean()) == pytest.approx(LEVEL, abs=0.3)
    assert float(found.std()) == pytest.approx(CONTRAST, rel=0.35)
    tried = {name: result["metrics"][f"held_out_{name}"] for name in ("untouched", "practised", "alone")}
    assert tried[result["metrics"]["network"]] >= max(tried.values()) - 0.01
    assert result["metrics"]["held_out"] > 0.3
    assert result["metrics"]["ghost_wedges"] == 0
    (row,) = read_tomogram_table(tmp_path / "out" / "tomograms.star").tomograms
    assert row.corrected == tmp_path / "out" / "ts1_corrected.mrc"
    with open(tmp_path / "out" / "held_out.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32
    assert all(-1 <= float(one["held_out"]) <= 1 for one in rows)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") in (3, 4)


def test_halves_of_noise_are_refused_in_one_sentence(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    write_halves(tmp_path, "ts1", *torch.randn(2, 24, 32, 32, generator=generator))
    with pytest.raises(InputInvalid, match=r"the halves agree in nothing .* give the two halves of one tomogram"):
        correct(tmp_path / "even", tmp_path / "out", tmp_path / "odd", check_wedge=False)
    assert not list((tmp_path / "out").glob("*.mrc"))


def test_one_map_is_corrected_and_said_to_be_one(folder: Path, tmp_path: Path) -> None:
    result, _ = correct(folder / "even", tmp_path / "out")
    assert any("there is one map and no even and odd halves" in line for line in result["statements"])
    assert likeness_in_wedge(read(tmp_path / "out" / "ts1_corrected.mrc"), truth()) > 0.25


def test_a_network_that_knew_nothing_learns_from_the_tomogram(folder: Path, tmp_path: Path) -> None:
    result, said = correct(folder / "even", tmp_path / "out", folder / "odd", **FAST)
    assert result["metrics"]["network"] == "anew"
    assert any("learning (anew) 4/4" in line for line in said)
    again, _ = run_map_job(
        "tomo.correct",
        tmp_path / "again",
        {
            "tomograms": folder / "even",
            "odd": folder / "odd",
            "network": tmp_path / "out" / "network.safetensors",
        },
        {"steps": 0},
    )
    assert again["metrics"]["network"] == "untouched"


def test_a_trial_ends_where_cubes_kept_out_gain_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correct_schema, "_LOOKED_AT_EVERY", 1)
    write_halves(tmp_path, "long", *halves(truth((24, 24, 64))))
    options = {**FAST, "steps": 6, "patience": 1, "learning_rate": 1e-30}
    _, said = correct(tmp_path / "even", tmp_path / "out", tmp_path / "odd", **options)
    assert [number for number in range(1, 7) if any(f"(anew) {number}/6" in line for line in said)] == [1, 2]


def test_patience_without_room_to_keep_cubes_out_is_said(folder: Path, tmp_path: Path) -> None:
    result, said = correct(folder / "even", tmp_path / "out", folder / "odd", **FAST, patience=1)
    assert any("'patience' has no effect: the tomogram is 32 reduced voxels long" in line for line in said)
    assert "'patience' has no effect" in (tmp_path / "out" / "result.json").read_text()
    assert result["metrics"]["network"] == "anew"


@pytest.mark.slow
def test_a_job_that_was_cut_off_ends_as_one_that_was_not(folder: Path, tmp_path: Path) -> None:
    options = {**FAST, "steps": 70, "checkpoint_every_s": 0}

    def steps(out: Path) -> Iterator[Any]:
        return run_job(
            {
                "schema": "cryobridge/job/1",
                "kind": "tomo.correct",
                "inputs": {"tomograms": str(folder / "even"), "odd": str(folder / "odd")},
                "output": str(out),
                "options": options,
            },
            torch.device("cpu"),
        )

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    list(steps(whole))
    going = steps(cut)
    for step in going:
        if step is not None and "67/70" in step.text:
            break
    going.close()  # type: ignore[attr-defined]
    assert not (cut / "result.json").exists()
    said = [step.text for step in steps(cut) if step is not None]
    assert any("66/70" in text for text in said)
    assert not any("64/70" in text for text in said)
    assert (whole / "ts1_corrected.mrc").read_bytes() == (cut / "ts1_corrected.mrc").read_bytes()
    assert not list(cut.glob(".*.safetensors"))


def test_parts_of_a_tomogram_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in four: no step where parts meet, and nearly what one part gives."""
    whole = truth((20, 40, 40))
    even, odd = halves(whole)
    # Faces that do not join, as those of real tomograms.
    ramp = torch.linspace(0, 20, 40)
    write_halves(tmp_path, "ts1", even + ramp, odd + ramp)
    monkeypatch.setattr(halves_module, "_MARGIN", 10)
    correct(tmp_path / "even", tmp_path / "one", tmp_path / "odd", check_wedge=False)
    monkeypatch.setattr(halves_module, "LARGEST_BLOCK", 40)
    correct(tmp_path / "even", tmp_path / "many", tmp_path / "odd", check_wedge=False)
    one, many = (read(tmp_path / name / "ts1_corrected.mrc") for name in ("one", "many"))
    inner = (slice(4, -4), slice(8, -8), slice(8, -8))
    difference = (one - many)[inner]
    assert float(difference.std()) < 0.25 * float(one[inner].std())
    steps = (many[:, :, 1:] - many[:, :, :-1]).abs().mean(dim=(0, 1))
    assert float(steps[19]) < 1.3 * float(steps[8:32].median())


def test_blocks_that_fade_into_each_other_sum_to_one() -> None:
    shape = (30, 50, 40)
    total = torch.zeros(shape)
    for block in blocks(shape, (16, 16, 16), (8, 8, 8)):
        part = halves_module.blended(block, shape, 8)
        z, y, x = part.start
        d, h, w = part.weight.shape
        total[z : z + d, y : y + h, x : x + w] += part.weight
    torch.testing.assert_close(total, torch.ones(shape), atol=1e-6, rtol=0)


def test_a_table_learns_of_the_result_and_the_header_is_kept(tmp_path: Path) -> None:
    rows = []
    for number in (1, 2):
        even, odd = halves(truth(seed=number), seed=number)
        for half, volume in (("e", even), ("o", odd)):
            write_tomogram(tmp_path / f"t{number}{half}.mrc", volume.numpy())
        rows.append(
            {
                "rlnIndex": number,
                "rlnTomoReconstructedTomogramHalf1": f"t{number}e.mrc",
                "rlnTomoReconstructedTomogramHalf2": f"t{number}o.mrc",
                "rlnPixelSize": 10.0,
                "rlnTiltMin": -60.0,
                "rlnTiltMax": 60.0,
                "myColumn": "kept",
            }
        )
    star = write_table(tmp_path, rows)
    result, _ = correct(star, tmp_path / "out")
    assert result["metrics"]["tomograms"] == 2
    for path in (star, tmp_path / "out" / "tomograms.star"):
        table = read_tomogram_table(path)
        assert all(one.corrected is not None and one.corrected.is_file() for one in table.tomograms)
        assert [one.values["myColumn"] for one in table.tomograms] == ["kept", "kept"]
    header = mrc.read_header(tmp_path / "out" / "t1e_corrected.mrc")
    before = mrc.read_header(tmp_path / "t1e.mrc")
    assert (header.position, header.voxel_size_A) == (before.position, before.voxel_size_A)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("thin", r"is 8 voxels thick along z"),
        ("mixed", r"halves of one tomogram are of one size"),
        ("nan", r"NaN"),
        ("range", r"tilts from 60 to -60 degrees are no range"),
        ("missing", r"row 1: .*t1o\.mrc"),
        ("folder and table", r"is a table, and 'odd' goes with a folder"),
        ("network", r"is no whole network file"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_lost(folder: Path, tmp_path: Path, change: str, says: str) -> None:
    even, odd = (one.numpy().copy() for one in halves(truth()))
    tilts = {"rlnTiltMin": -60.0, "rlnTiltMax": 60.0}
    if change == "thin":
        even, odd = even[:8], odd[:8]
    if change == "mixed":
        odd = odd[:20]
    if change == "nan":
        even[3, 4, 5] = np.nan
    if change == "range":
        tilts = {"rlnTiltMin": 60.0, "rlnTiltMax": -60.0}
    write_tomogram(tmp_path / "t1e.mrc", even)
    if change != "missing":
        write_tomogram(tmp_path / "t1o.mrc", odd)
    row = {
        "rlnIndex": 1,
        "rlnTomoReconstructedTomogramHalf1": "t1e.mrc",
        "rlnTomoReconstructedTomogramHalf2": "t1o.mrc",
        "rlnPixelSize": 10.0,
    }
    star = write_table(tmp_path, [{**row, **tilts}])
    before = star.read_bytes()
    inputs = {"tomograms": star}
    if change == "folder and table":
        inputs["odd"] = folder / "odd"
    if change == "network":
        (tmp_path / "weights.safetensors").write_bytes(b"not a network")
        inputs["network"] = tmp_path / "weights.safetensors"
    with pytest.raises(InputInvalid, match=says) as raised:
        run_map_job("tomo.correct", tmp_path / "out", inputs, {"steps": 0})
    assert "\n" not in str(raised.value)
    assert star.read_bytes() == before
    assert not list((tmp_path / "out").glob("*_corrected.mrc"))
