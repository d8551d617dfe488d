"""`check` does real work and times it; what stops it is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.map_jobs import run_map_job

from cryobridge.bridge.gpus import Gpu
from cryobridge.bridge.worker.kinds import check
from cryobridge.schemas.errors import CryobridgeError, OutOfMemory
from cryobridge.schemas.kinds.map.correct import CorrectOptions

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_a_working_machine_is_told_how_fast_it_is(tmp_path: Path) -> None:
    result, said = run_map_job("check", tmp_path / "out")
    found = result["metrics"]
    assert found["step_s"] > 0
    steps = CorrectOptions().network_options("cpu").total_steps(warm=False)
    assert found["prediction_s"] > 0
    assert found["default_training_min"] == pytest.approx(steps * found["step_s"] / 60, abs=0.01)
    assert found["torch"] == torch.__version__
    assert any("training step 4 of 4" in line for line in said)
    assert result["statements"][0].startswith("This machine can do the work: on CPU (")
    assert result["statements"][0] in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less work, where its amount does not matter."""
    monkeypatch.setattr(check, "BOXES", {"cpu": 24})
    monkeypatch.setattr(check, "_STEPS", {"cpu": 2})


def replaced(failure: BaseException) -> Callable[..., Iterator[None]]:
    def fail(*_: object) -> Iterator[None]:
        raise failure
        yield

    return fail


@pytest.mark.parametrize(
    ("failure", "kind", "sentence"),
    [
        (RuntimeError("no kernel image is available\nDevice-side assertions"), CryobridgeError, "no kernel image"),
        (ValueError("the loss is nan at step 1 of 4"), CryobridgeError, "the loss is nan"),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory, "not enough free memory"),
    ],
)
def test_a_failure_is_one_sentence_with_the_device(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    failure: BaseException,
    kind: type[CryobridgeError],
    sentence: str,
) -> None:
    monkeypatch.setattr(check, "train", replaced(failure))
    with pytest.raises(kind, match=rf"^CPU \(\d+ cores\): .*{sentence}") as caught:
        run_map_job("check", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("small")
def test_a_network_that_returns_no_numbers_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check, "predict", lambda _state, _half, volume, *_: volume * torch.nan)
    with pytest.raises(CryobridgeError, match="not finite"):
        run_map_job("check", tmp_path / "out")


@pytest.mark.usefixtures("small")
def test_a_gpu_that_is_not_used_a_full_disk_and_a_busy_machine_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "nvidia_gpus", lambda: [Gpu(0, "GPU-0", "Some GPU", 10**10, 10**10)])
    monkeypatch.setattr(check.shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9))
    monkeypatch.setattr(check.os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    result, _ = run_map_job("check", tmp_path / "out")
    notes = result["statements"][1:]
    assert any(line.startswith("There is a GPU (Some GPU), but this ran on the CPU") for line in notes)
    assert any("busy (load 1000 on" in line for line in notes)
    assert any("only 1.0 GB of disk are free" in line for line in notes)


@pytest.mark.gpu
def test_a_gpu_is_timed(tmp_path: Path) -> None:
    result, _ = run_map_job("check", tmp_path / "out", device="cuda")
    assert result["metrics"]["peak_memory_gb"] > 0.1
    assert result["statements"][0].startswith(f"This machine can do the work: on {torch.cuda.get_device_name()}")
