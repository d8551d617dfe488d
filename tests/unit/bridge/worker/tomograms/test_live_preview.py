"""`preview.png`: drawn while a network learns, when it is time, and never at the training's expense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.map_jobs import run_map_job
from support.pictures import pixels
from support.subtomograms import QUICK as ISONET
from support.subtomograms import write_subtomograms
from support.thread_ranks import on_ranks
from support.wedge_tables import halved_tomograms

from cryobridge.bridge.worker.jobs.context import Context
from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.bridge.worker.tomograms import live_preview as live_preview_module
from cryobridge.bridge.worker.tomograms.live_preview import LivePreview
from cryobridge.core.tomogram import Glimpse, Wedge
from cryobridge.core.tomogram import task as task_module
from cryobridge.core.training import Ranks
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job

CPU = torch.device("cpu")
STRAIGHT = {"batch_size": 2, "base_width": 2, "cube_size": 16, "steps": 5}


def glimpse() -> Glimpse:
    return Glimpse(torch.randn(8, 16, 16, generator=torch.Generator().manual_seed(1)), torch.zeros(8, 16, 16), Wedge())


def folder_of(tmp_path: Path, **options: Any) -> OutputFolder:
    (tmp_path / "subtomo.star").touch()
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "tomo.refine",
        "inputs": {"subtomos": str(tmp_path / "subtomo.star")},
        "output": str(tmp_path / "out"),
        "options": options,
    }
    return OutputFolder(parse_job(spec, "test").resolved(tmp_path), CPU)


def test_it_is_drawn_at_once_and_then_when_its_time_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(live_preview_module.time, "monotonic", lambda: now[0])
    preview = LivePreview(Context(CPU, folder_of(tmp_path)), 30.0, 10.0)
    asked: list[float] = []

    def look() -> Glimpse:
        asked.append(now[0])
        return glimpse()

    for now[0] in (1000.0, 1029.0, 1030.0, 1059.0, 1061.0):
        preview.offer(f"step {now[0]:g}", look)
    assert asked == [1000.0, 1030.0, 1061.0]
    assert pixels((tmp_path / "out" / "preview.png").read_bytes()).size
    assert [path.name for path in (tmp_path / "out").glob(".*.part")] == []


def test_zero_means_none(tmp_path: Path) -> None:
    LivePreview(Context(CPU, folder_of(tmp_path)), 0.0, 10.0).offer("step 1", lambda: pytest.fail("was looked at"))
    assert not (tmp_path / "out").exists()


def test_only_the_process_that_leads_draws(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> int:
        looks: list[int] = []
        folder = folder_of(tmp_path / str(ranks.index))
        LivePreview(Context(CPU, folder, ranks), 1.0, 10.0).offer("step 1", lambda: (looks.append(1), glimpse())[1])
        return len(looks)

    for index in range(2):
        (tmp_path / str(index)).mkdir()
    assert on_ranks(2, work) == [1, 0]


@pytest.mark.parametrize("fails", ["looking", "writing"])
def test_a_failure_is_said_once_and_costs_nothing_else(tmp_path: Path, fails: str) -> None:
    folder = folder_of(tmp_path)
    preview = LivePreview(Context(CPU, folder), 1e-9, None)
    if fails == "writing":
        folder.open()
        (tmp_path / "out" / "preview.png").mkdir()

    def look() -> Glimpse:
        if fails == "looking":
            raise torch.OutOfMemoryError("out of memory, made up")
        return glimpse()

    for _ in range(3):
        preview.offer("step 1", look)
    assert folder.finish(metrics={})["outputs"] == {}
    folder.close()
    assert (tmp_path / "out" / "run.log").read_text().count("no preview of the training: ") == 1


def test_a_picture_of_the_attempt_before_is_counted(tmp_path: Path) -> None:
    first = folder_of(tmp_path)
    LivePreview(Context(CPU, first), 1.0, 10.0).offer("step 1", glimpse)
    first.close()
    second = folder_of(tmp_path)
    assert second.resumed
    LivePreview(Context(CPU, second), 1.0, 10.0)
    assert list(second.finish(metrics={})["outputs"]) == ["preview.png"]
    second.close()


def test_a_picture_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "preview.png").write_bytes(b"mine")
    with pytest.raises(InputInvalid, match=r"not of this job, such as preview\.png"):
        folder_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["n2n-mw", "isonet"])
def test_a_training_learns_the_same_with_pictures_and_without(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    offer = LivePreview.offer

    def noted(self: LivePreview, title: str, look: Any) -> None:
        titles.append(title)
        offer(self, title, look)

    monkeypatch.setattr(LivePreview, "offer", noted)
    monkeypatch.setattr(task_module, "_FIRST_REFILL", 3)
    straight = method != "isonet"
    star = halved_tomograms(tmp_path) if straight else write_subtomograms(tmp_path)
    found = []
    for name, every_s in (("with", 1e-9), ("without", 0.0)):
        options = {**(STRAIGHT if straight else ISONET), "preview_every_s": every_s}
        result, _ = run_map_job("tomo.refine", tmp_path / name, {"star": star}, options)
        assert ("preview.png" in result["outputs"]) == (name == "with")
        found.append(safetensors.torch.load_file(tmp_path / name / "model.safetensors"))
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key])
    offered = (
        ["learning (anew), step 3 of 5", "learning (anew), step 5 of 5"]
        if straight
        else [f"iteration {number} of 2, epoch {epoch} of 2" for number in (1, 2) for epoch in (1, 2)]
    )
    assert titles == 2 * offered
