"""`tomo.refine` learns, leaves its settings, goes on from them and from interruptions, and refuses in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.isonet_models import MadeUpModel
from support.map_jobs import run_map_job
from support.subtomograms import CROP, QUICK, balls, measured, wedged, write_subtomograms
from support.thread_ranks import on_ranks

from cryobridge.bridge.worker.jobs.context import Context
from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.tomo.refine import run
from cryobridge.bridge.worker.tomograms.network_file import read_network_file
from cryobridge.core.training import Ranks
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.wrappers.formats import mrc

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")

LEARNING = {
    **QUICK,
    "iterations": 2,
    "epochs": 3,
    "steps_per_epoch": 10,
    "filter_base": 4,
    "drop_out": 0.0,
    "learning_rate": 5e-3,
    "noise_level": 0,
}


@pytest.fixture
def star(tmp_path: Path) -> Path:
    return write_subtomograms(tmp_path)


def refine(star: Path, out: Path, inputs: dict[str, Path] | None = None, **options: Any) -> tuple[dict[str, Any], str]:
    """The result, and the log."""
    result, _ = run_map_job("tomo.refine", out, {"subtomos": star, **(inputs or {})}, options)
    return result, (out / "run.log").read_text()


def spec_of(star: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "cryobridge/job/1",
        "kind": "tomo.refine",
        "inputs": {"subtomos": str(star)},
        "output": str(out),
        "options": options,
    }


def weights(out: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(out / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_it_leaves_a_network_its_settings_and_nothing_else(star: Path, tmp_path: Path) -> None:
    result, log = refine(star, tmp_path / "out", **QUICK)
    wanted = {"model.safetensors", "refine.json", "loss.csv", "preview.png", "report.html"}
    assert set(result["outputs"]) == wanted
    assert {path.name for path in (tmp_path / "out").iterdir()} == wanted | {"job.yaml", "run.log", "result.json"}
    state = json.loads((tmp_path / "out" / "refine.json").read_text())
    assert state["iterations_done"] == 2
    assert [one["noise_level"] for one in state["history"]] == [0.0, 0.1]
    assert [len(one["losses"]) for one in state["history"]] == [2, 2]
    assert state["options"]["steps_per_epoch"] == 3
    assert (tmp_path / "out" / "loss.csv").read_text().count("\n") == 5
    assert "iteration 2: loss" in log
    network = read_network_file(tmp_path / "out" / "model.safetensors")
    assert (network.shape.filter_base, network.shape.unet_depth, network.shape.convs_per_depth) == (2, 2, 2)


def test_it_fills_the_wedge_with_what_is_there(star: Path, tmp_path: Path) -> None:
    """The part of the balls that no tilt measured, out of the network's answer to a subtomogram it has not seen."""
    refine(star, tmp_path / "out", **LEARNING)
    network = read_network_file(tmp_path / "out" / "model.safetensors").built(torch.device("cpu")).eval()
    truth, seen = balls(99), -wedged(99)
    low, high = np.percentile(seen, [4, 96])
    with torch.no_grad():
        shown = torch.from_numpy((seen - low) / (high - low))[None, None].float()
        answer = -network(shown)[0, 0].numpy()
    seen_there = np.broadcast_to(measured(), (CROP, CROP, CROP // 2 + 1))
    truth_missing, answer_missing = (np.fft.rfftn(one)[~seen_there] for one in (truth, answer))
    likeness = np.vdot(truth_missing, answer_missing).real
    likeness /= np.linalg.norm(truth_missing) * np.linalg.norm(answer_missing)
    assert likeness > 0.6
    assert np.linalg.norm(answer_missing) > 0.02 * np.linalg.norm(np.fft.rfftn(answer)[seen_there])


@pytest.mark.parametrize("stop", [4, 9, 14])
def test_a_job_that_was_killed_ends_as_one_that_was_not(star: Path, tmp_path: Path, stop: int) -> None:
    options = {**QUICK, "checkpoint_every_s": 1e-9}
    refine(star, tmp_path / "whole", **options)
    steps = run_job(spec_of(star, tmp_path / "killed", options), CPU)
    for _ in range(stop):
        next(steps)
    steps.close()
    torch.rand(5)
    _, log = refine(star, tmp_path / "killed", **options)
    assert "goes on in iteration" in log
    assert_same(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(".*.safetensors"))


@pytest.mark.parametrize("name", ["refine.json", "model.safetensors"])
def test_going_on_gives_what_all_iterations_at_once_give(star: Path, tmp_path: Path, name: str) -> None:
    """Every setting comes from the earlier job; what is given now goes before it."""
    settings = {**QUICK, "learning_rate": 1e-3, "select_subtomo_number": 2, "seed": 3}
    refine(star, tmp_path / "whole", **settings)
    refine(star, tmp_path / "first", **{**settings, "iterations": 1})
    result, _ = refine(star, tmp_path / "second", {"continue_from": tmp_path / "first" / name}, iter=2)
    assert_same(tmp_path / "whole", tmp_path / "second")
    kept = json.loads((tmp_path / "second" / "refine.json").read_text())
    whole = json.loads((tmp_path / "whole" / "refine.json").read_text())
    assert kept["options"] == whole["options"]
    assert [one["losses"] for one in kept["history"]] == [one["losses"] for one in whole["history"]]
    assert result["options"]["learning_rate"] == 1e-3


def test_an_iteration_ends_when_pairs_kept_out_no_longer_gain(star: Path, tmp_path: Path) -> None:
    """A network that does not change gives the same loss at every look."""
    still = {"learning_rate": 1e-30, "batch_normalization": False, "epochs": 6, "patience": 1}
    refine(star, tmp_path / "out", **{**QUICK, **still})
    history = json.loads((tmp_path / "out" / "refine.json").read_text())["history"]
    assert [len(one["losses"]) for one in history] == [2, 2]


def test_a_model_of_isonet_is_started_from(star: Path, tmp_path: Path) -> None:
    model = MadeUpModel(depth=2, convolutions=2).write(tmp_path / "model_iter30.h5")
    _, log = refine(star, tmp_path / "out", {"pretrained_model": model}, **{**QUICK, "iterations": 1, "epochs": 1})
    assert "filled 3 of 3" in log or "iteration 1: loss" in log
    assert "convs_per_depth, filter_base, unet_depth had no effect" in log


def test_a_refine_of_isonet_is_gone_on_with(star: Path, tmp_path: Path) -> None:
    MadeUpModel(depth=2, convolutions=2).write(tmp_path / "model_iter03.h5")
    told = {
        "iterations": 3,
        "iter_count": 3,
        "epochs": 1,
        "steps_per_epoch": 2,
        "batch_size": 4,
        "gpuID": "0,1",
        "noise_level": [0.1, 0.2],
        "noise_start_iter": [2, 4],
        "kernel": [3, 3, 3],
        "pool": None,
        "log_level": "info",
        "cube_size": 64,
        "data_dir": "results/data",
        "remove_intermediate": False,
        "learning_rate": 0.0002,
    }
    (tmp_path / "refine_iter03.json").write_text(json.dumps(told))
    result, log = refine(star, tmp_path / "out", {"continue_from": tmp_path / "refine_iter03.json"}, iter=4)
    assert result["options"]["learning_rate"] == 0.0002
    assert "iteration 4: loss" in log
    assert "noise 0.2" in log


def test_parameters_that_mean_nothing_here_are_told_once(star: Path, tmp_path: Path) -> None:
    options = {**QUICK, "iterations": 1, "epochs": 1, "preprocessing_ncpus": 16, "remove_intermediate": True}
    _, log = refine(star, tmp_path / "out", **options)
    assert log.count("preprocessing_ncpus, remove_intermediate had no effect") == 1


def test_a_batch_that_memory_has_no_room_for_is_divided(
    star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryobridge.core.tomogram import published

    forward = published.IsoNetUNet.forward

    def small(self: published.IsoNetUNet, volumes: torch.Tensor) -> torch.Tensor:
        if volumes.shape[0] > 2 and self.training:
            raise torch.OutOfMemoryError("out of memory, made up")
        return forward(self, volumes)

    monkeypatch.setattr(published.IsoNetUNet, "forward", small)
    result, log = refine(star, tmp_path / "out", **QUICK)
    assert log.count("out of memory, trying smaller batches") == 1
    assert result["metrics"]["loss_last"] > 0


@pytest.mark.parametrize("iterations", [1, 2])
def test_two_processes_learn_what_one_does(star: Path, tmp_path: Path, iterations: int) -> None:
    """But for drop-out and for statistics of batches, which are each process's own."""
    options = {**QUICK, "iterations": iterations, "drop_out": 0.0, "batch_normalization": False}
    refine(star, tmp_path / "alone", **options)
    job = parse_job(spec_of(star, tmp_path / "shared", options), "test").resolved(tmp_path)

    def work(ranks: Ranks) -> dict[str, Any]:
        folder = OutputFolder(job, CPU, writes=ranks.index == 0)
        steps = run(job, Context(CPU, folder, ranks))
        try:
            while True:
                next(steps)
        except StopIteration as end:
            return dict(end.value)
        finally:
            folder.close()

    shared, nothing = on_ranks(2, work)
    assert nothing == {}
    assert shared["metrics"]["iterations"] == iterations
    one, other = weights(tmp_path / "alone"), weights(tmp_path / "shared")
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=2e-5)


def test_a_batch_that_processes_cannot_share_is_refused(star: Path, tmp_path: Path) -> None:
    job = parse_job(spec_of(star, tmp_path / "out", {**QUICK, "batch_size": 3}), "test").resolved(tmp_path)

    def work(ranks: Ranks) -> str:
        folder = OutputFolder(job, CPU, writes=ranks.index == 0)
        with pytest.raises(InputInvalid) as caught:
            list(run(job, Context(CPU, folder, ranks)))
        return str(caught.value)

    assert all("batch_size: a batch of 3 samples cannot be shared evenly by 2" in said for said in on_ranks(2, work))


@pytest.mark.gpu
def test_a_gpu_learns_what_a_cpu_does(star: Path, tmp_path: Path) -> None:
    options = {**QUICK, "drop_out": 0.0}
    for device in ("cpu", "cuda"):
        run_map_job("tomo.refine", tmp_path / device, {"subtomos": star}, options, device)
    one, other = weights(tmp_path / "cpu"), weights(tmp_path / "cuda")
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0.05, atol=5e-3)
    run_map_job("tomo.refine", tmp_path / "whole", {"subtomos": star}, {**QUICK, "precision": "bfloat16"}, "cuda")


def test_tilts_come_from_the_command_then_from_the_table(tmp_path: Path) -> None:
    star = write_subtomograms(tmp_path / "a", rlnTiltMin=-40.0, rlnTiltMax=60.0)
    options = {**QUICK, "iterations": 1, "epochs": 1}
    refine(star, tmp_path / "table", **options)
    assert "-40 to 60 degrees" in (tmp_path / "table" / "report.html").read_text()
    refine(star, tmp_path / "command", tilt_min=-50, **options)
    assert "-50 to 60 degrees" in (tmp_path / "command" / "report.html").read_text()


def nothing(star: Path) -> None:
    """The files are fine."""


def without_row_3(star: Path) -> None:
    (star.parent / "subtomo" / "tomo1_000002.mrc").unlink()


def with_nan_in_row_2(star: Path) -> None:
    path = star.parent / "subtomo" / "tomo1_000001.mrc"
    raw = bytearray(path.read_bytes())
    raw[1024:1028] = np.float32(np.nan).tobytes()
    path.write_bytes(raw)


def with_another_size_in_row_2(star: Path) -> None:
    mrc.write_atomically(star.parent / "subtomo" / "tomo1_000001.mrc", wedged(1, CROP + 2), 10.0)


def with_a_flat_row_1(star: Path) -> None:
    mrc.write_atomically(star.parent / "subtomo" / "tomo1_000000.mrc", np.ones((CROP,) * 3, np.float32), 10.0)


def cut_off_in_row_1(star: Path) -> None:
    path = star.parent / "subtomo" / "tomo1_000000.mrc"
    path.write_bytes(path.read_bytes()[:5000])


def of_something_else(star: Path) -> None:
    star.write_text("data_\n\nloop_\n_rlnMicrographName #1\na.mrc\n")


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (without_row_3, {}, r"row 3: .*tomo1_000002.mrc: cannot be opened"),
        (with_nan_in_row_2, {}, r"row 2: .*holds NaN"),
        (with_another_size_in_row_2, {}, r"row 2: .*has 26 x 26 x 26 voxels, the table says 24"),
        (with_a_flat_row_1, {}, r"row 1: all voxels of .* are 1;"),
        (cut_off_in_row_1, {}, r"row 1: .*cut off"),
        (of_something_else, {}, "subtomo.star"),
        (nothing, {"unet_depth": 5}, "rlnCubeSize 16 does not divide by 32"),
        (
            nothing,
            {"noise_level": "1,2,3", "noise_start_iter": "1,2"},
            "3 numbers of noise_level, 2 of noise_",
        ),
        (nothing, {"noise_level": "much"}, "should be a number"),
        (nothing, {"noise_start_iter": "3,2", "noise_level": "0.1,0.2"}, "ascending"),
        (nothing, {"tilt_min": 70}, "tilt_min_deg 70 is not below"),
        (nothing, {"kernel": "3,3"}, "one whole number or three"),
        (nothing, {"pool": "3"}, "cannot be undone|does not divide"),
        (nothing, {"iterations": 0}, "iterations"),
        (nothing, {"no_such": 1}, "unknown key"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_leaves_nothing(
    star: Path, tmp_path: Path, change: Callable[[Path], None], options: dict[str, Any], words: str
) -> None:
    change(star)
    with pytest.raises(InputInvalid, match=words) as caught:
        refine(star, tmp_path / "out", **{**QUICK, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.json", b"{]", "no state of a refine"),
        ("s.json", b"{}", "no state of a refine"),
        ("s.json", b'{"iter_count": 7}', "model_iter07.h5: cannot be read"),
        ("s.json", b"[" * 10_000, "no whole network"),
        ("s.safetensors", b"\x02\0\0\0\0\0\0\0{}", "no whole network"),
        ("s.h5", b"\x89HDF\r\n\x1a\n", "cut off or is damaged"),
    ],
)
def test_a_state_that_cannot_be_gone_on_with_is_one_sentence(
    star: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputInvalid, match=words) as caught:
        refine(star, tmp_path / "out", {"continue_from": tmp_path / name})
    assert "\n" not in str(caught.value)


def test_nothing_left_to_do_is_said(star: Path, tmp_path: Path) -> None:
    refine(star, tmp_path / "first", **{**QUICK, "iterations": 1, "epochs": 1})
    with pytest.raises(InputInvalid, match="its 1 iterations are done; give more"):
        refine(star, tmp_path / "second", {"continue_from": tmp_path / "first" / "refine.json"})
