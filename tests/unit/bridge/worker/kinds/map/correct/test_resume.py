"""`map.correct` when something goes wrong on the way: broken off, out of memory, not finite, several processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.correction_job import correction_job, finish, read, steps_of

from cryobridge.bridge.worker.jobs import checkpoint, runner
from cryobridge.bridge.worker.kinds.map.correct import job as correct
from cryobridge.bridge.worker.training import pair
from cryobridge.core.training import Trainer
from cryobridge.schemas.errors import BadResult

pytestmark = pytest.mark.slow

MAPS = ("corrected_half1.mrc", "corrected_half2.mrc", "corrected.mrc", "spread.mrc")
OPTIONS: dict[str, Any] = {"steps": 5, "ensemble": 2, "held_out": 2, "held_out_every": 2, "checkpoint_every_s": 1e-6}


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correct, "page", lambda _: "")


def break_off(spec: dict[str, Any], words: str) -> None:
    """Run a job until it says something, and no further."""
    steps = steps_of(spec)
    for progress in steps:
        if progress is not None and words in progress.text:
            steps.close()
            return
    raise AssertionError(f"the job never said {words!r}")


def test_a_job_that_was_broken_off_anywhere_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = finish(correction_job(tmp_path, name="whole", **OPTIONS))
    spec = correction_job(tmp_path, **OPTIONS)
    for words in ("training 1/5", "training 4/5", "predicting half-map 2", "2 of 2, training 3/5", "final maps"):
        break_off(spec, words)
    again = finish(spec)
    for name in (*MAPS, "loss.csv", "network.safetensors"):
        assert again["outputs"][name]["sha256"] == whole["outputs"][name]["sha256"], name
    log = (tmp_path / "out/run.log").read_text()
    assert "network 1: goes on after step 4" in log
    assert "network 2: goes on after step 3" in log
    assert "network 1: was finished before the interruption" in log
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


def test_other_inputs_begin_anew(tmp_path: Path) -> None:
    options = {**OPTIONS, "ensemble": 1}
    spec = correction_job(tmp_path, **options)
    break_off(spec, "training 4/5")
    data = (tmp_path / "half1.mrc").read_bytes()
    (tmp_path / "half1.mrc").write_bytes((tmp_path / "half2.mrc").read_bytes())
    (tmp_path / "half2.mrc").write_bytes(data)
    finish(spec)
    assert "goes on after step" not in (tmp_path / "out/run.log").read_text()
    fresh = finish({**spec, "output": str(tmp_path / "fresh")})
    assert torch.equal(read(tmp_path / "out/corrected.mrc"), read(Path(tmp_path / "fresh/corrected.mrc")))
    assert fresh["metrics"]["steps"] == 5


def test_a_full_disk_costs_the_checkpoint_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_all", full)
    finish(correction_job(tmp_path))
    assert "no checkpoint: " in (tmp_path / "out/run.log").read_text()


def test_out_of_memory_means_smaller_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    trainer_of = pair.trainer_of

    class Hungry:
        def __init__(self, options: Any, trainer: Any) -> None:
            self._options, self._trainer, self.held = options, trainer, trainer.held

        def run(self) -> Iterator[Any]:
            steps = self._trainer.run()
            yield next(steps)
            if self._options.acc_batches == 1:
                raise torch.OutOfMemoryError("too much")
            yield from steps

    def hungry(*arguments: Any, **named: Any) -> Hungry:
        options = arguments[2]
        tried.append(options.acc_batches)
        return Hungry(options, trainer_of(*arguments, **named))

    monkeypatch.setattr(pair, "trainer_of", hungry)
    result = finish(correction_job(tmp_path))
    assert tried == [1, 2]
    assert result["metrics"]["steps"] == 2
    assert "out of memory, trying smaller batches" in (tmp_path / "out/run.log").read_text()


def test_a_loss_that_is_not_finite_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(*_: Any, **__: Any) -> Iterator[Any]:
        raise ValueError("the loss is nan at step 3 of 5")
        yield

    monkeypatch.setattr(Trainer, "run", diverging)
    with pytest.raises(BadResult, match=r"the loss is nan at step 3 of 5; try a lower learning_rate") as caught:
        finish(correction_job(tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out/result.json").exists()
    assert "failed: " in (tmp_path / "out/run.log").read_text()


def test_a_map_that_is_not_finite_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any, __: int, volume: torch.Tensor, *___: Any) -> Iterator[torch.Tensor]:
        yield torch.full_like(volume, torch.nan)

    monkeypatch.setattr(pair, "predict_steps", broken)
    with pytest.raises(BadResult, match="half 1 is not usable: values that are not finite"):
        finish(correction_job(tmp_path))
    assert not (tmp_path / "out/corrected_half1.mrc").exists()


def test_only_the_first_of_several_processes_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Second:
        index, count = 1, 2

        def mean_(self, tensors: list[torch.Tensor]) -> None:
            """The other process has the same."""

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(runner, "ranks_from_environment", lambda _: Second())
    assert finish(correction_job(tmp_path)) == {}
    assert not (tmp_path / "out").exists()
