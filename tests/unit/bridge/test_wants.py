"""What a job wants of a GPU is known before it asks for one, and a disk that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from cryobridge.bridge import wants
from cryobridge.schemas.job import parse_job
from cryobridge.wrappers.formats import mrc


def spec(folder: Path, box: int) -> dict:
    inputs = {}
    for half in ("half1", "half2"):
        path = folder / f"{half}.mrc"
        with path.open("w+b") as file:
            mrc.write(file.fileno(), np.zeros((box, box, box), np.float32), 1.0)
        inputs[half] = str(path)
    return {"schema": "cryobridge/job/1", "kind": "map.correct", "inputs": inputs, "output": str(folder / "out")}


def test_it_is_the_measured_table_of_the_kind_at_the_box_of_its_maps(tmp_path: Path) -> None:
    small, large = (spec(tmp_path, box) for box in (16, 32))
    assert wants.device_bytes(large) == parse_job(large, "").memory(32, "cuda").device_bytes
    assert wants.device_bytes(small) == wants.device_bytes(large), "the same files, larger by now"


def test_of_maps_that_are_none_nothing_is_known(tmp_path: Path) -> None:
    job = spec(tmp_path, 16)
    (tmp_path / "half1.mrc").write_text("no map")
    (tmp_path / "half2.mrc").unlink()
    assert wants.device_bytes(job) is None
    assert wants.device_bytes({"kind": "no such"}) is None


def test_a_disk_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wants, "PATIENCE_S", 0.05)
    monkeypatch.setattr(wants, "device_bytes", lambda _: time.sleep(30))
    told: list[int | None] = []

    async def two() -> None:
        asked = wants.Wants()
        for _ in range(2):
            asked.find_out(asyncio.get_running_loop(), {}, told.append)
        while len(told) < 2:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(two(), 10))
    assert told == [None, None]
