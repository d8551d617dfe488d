"""What a runner is given does as it says in every process of a job."""

from __future__ import annotations

from pathlib import Path

import torch
from support.correction_job import correction_job

from cryobridge.bridge.worker.jobs.checkpoint import Checkpoint
from cryobridge.bridge.worker.jobs.context import Context
from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.schemas.job import parse_job

CPU = torch.device("cpu")
KEPT = Checkpoint({"a": torch.ones(1)})


def test_checkpoints_are_of_this_job_on_these_inputs(tmp_path: Path) -> None:
    context = Context(CPU, OutputFolder(parse_job(correction_job(tmp_path), "job"), CPU))
    context.folder.open()
    context.checkpoints({"seed": 1}).write("x", KEPT)
    assert context.checkpoints({"seed": 1}).read("x") is not None
    assert context.checkpoints({"seed": 2}).read("x") is None


def test_what_any_but_the_first_process_says_is_dropped(tmp_path: Path) -> None:
    class Second:
        index, count = 1, 2

        def mean_(self, tensors: list[torch.Tensor]) -> None:
            """Nobody asks."""

    folder = OutputFolder(parse_job(correction_job(tmp_path), "job"), CPU, writes=False)
    context = Context(CPU, folder, ranks=Second())
    context.say("hello")
    context.checkpoints({}).write("x", KEPT)
    assert not (tmp_path / "out").exists()
    assert not context.leads
