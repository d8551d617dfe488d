"""A job on a list of tomograms that was interrupted goes on behind what it had made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tomogram_tables import tomograms

from cryobridge.bridge.worker.jobs.runner import JobSteps, run_job
from cryobridge.bridge.worker.tomograms import row_steps
from cryobridge.bridge.worker.tomograms.made_notes import NOTES_NAME
from cryobridge.schemas.errors import InputInvalid

CPU = torch.device("cpu")


def steps_of(star: Path, out: Path, **options: Any) -> JobSteps:
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "tomo.make_mask",
        "inputs": {"star": str(star)},
        "output": str(out),
        "options": {"patch_size": 1, **options},
    }
    return run_job(spec, CPU)


def finished(steps: JobSteps) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return dict(end.value), said
        said += [step.text] if step is not None else []


def interrupted(steps: JobSteps, at: str) -> None:
    """As when a worker ends: nothing after this step is done."""
    for step in steps:
        if step is not None and step.text.startswith(at):
            steps.close()
            return


def test_after_an_interruption_only_what_is_missing_is_made(tmp_path: Path) -> None:
    star, out = tomograms(tmp_path, 3), tmp_path / "out"
    interrupted(steps_of(star, out), "tomo2: measuring")
    assert [path.name for path in out.glob("*_mask.mrc")] == ["tomo1_mask.mrc"]
    made = (out / "tomo1_mask.mrc").stat().st_mtime_ns
    result, said = finished(steps_of(star, out))
    assert "tomo1: made in an earlier attempt" in said
    assert (out / "tomo1_mask.mrc").stat().st_mtime_ns == made
    assert {name for name in result["outputs"] if name.endswith(".mrc")} == {f"tomo{n}_mask.mrc" for n in (1, 2, 3)}
    assert result["metrics"]["tomograms"] == 3
    assert not (out / NOTES_NAME).exists()
    whole, _ = finished(steps_of(tomograms(tmp_path, 3), tmp_path / "whole"))
    for name in ("tomo1_mask.mrc", "tomo3_mask.mrc"):
        assert whole["outputs"][name]["sha256"] == result["outputs"][name]["sha256"]


@pytest.mark.parametrize("spoil", ["gone", "notes", "other"])
def test_what_an_earlier_attempt_left_counts_only_if_it_is_this(tmp_path: Path, spoil: str) -> None:
    star, out = tomograms(tmp_path, 2), tmp_path / "out"
    interrupted(steps_of(star, out), "tomo2: measuring")
    if spoil == "gone":
        (out / "tomo1_mask.mrc").unlink()
    elif spoil == "notes":
        (out / NOTES_NAME).write_text('{"0": [1], "1"')
    else:
        star.write_text(star.read_text().replace("_rlnDefocus", "_rlnMaskStdPercentage").replace("38000.0", "80"))
    _, said = finished(steps_of(star, out))
    assert not [line for line in said if "earlier attempt" in line]


def test_a_job_of_other_options_does_not_go_on_with_it(tmp_path: Path) -> None:
    star, out = tomograms(tmp_path, 2), tmp_path / "out"
    interrupted(steps_of(star, out), "tomo2: measuring")
    with pytest.raises(InputInvalid, match="another, unfinished job"):
        finished(steps_of(star, out, z_crop=0.1))


def test_a_table_of_the_users_that_cannot_be_written_to_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *_: object) -> None:
        raise InputInvalid(f"{path}: cannot be written: Read-only file system")

    monkeypatch.setattr(row_steps, "update_table", refused)
    star, out = tomograms(tmp_path), tmp_path / "out"
    before = star.read_bytes()
    result, _ = finished(steps_of(star, out))
    assert any("Read-only file system: only the table in the output folder" in line for line in result["statements"])
    assert star.read_bytes() == before
    assert "tomo1_mask.mrc" in (out / "tomograms.star").read_text()
