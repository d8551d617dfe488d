"""`tomo.refine` straight from tomograms: what it leaves, how it goes on, what each method reads, what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.map_jobs import run_map_job
from support.thread_ranks import on_ranks
from support.wedge_tables import OPTICS, PIXEL_A, halved_tomograms

from cryobridge.bridge.worker.jobs.context import Context
from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.tomo.refine import run
from cryobridge.bridge.worker.tomograms.wedge_network import is_wedge_network, read_wedge_network
from cryobridge.core.tomogram import WedgeTask, ctf_curve, radius
from cryobridge.core.training import Ranks
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.wrappers.formats import mrc

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")

QUICK: dict[str, Any] = {"batch_size": 2, "base_width": 2, "cube_size": 16, "steps": 3}
WANTED = {"model.safetensors", "refine.json", "loss.csv", "held_out.csv", "preview.png", "report.html"}


def refine(star: Path, out: Path, inputs: dict[str, Path] | None = None, **options: Any) -> tuple[dict[str, Any], str]:
    """The result, and the log."""
    result, _ = run_map_job("tomo.refine", out, {"star": star, **(inputs or {})}, {**QUICK, **options})
    return result, (out / "run.log").read_text()


def spec_of(star: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "cryobridge/job/1",
        "kind": "tomo.refine",
        "inputs": {"star": str(star)},
        "output": str(out),
        "options": options,
    }


def weights(out: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(out / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture
def seen_options(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options and blocks that trainings are begun with."""
    found: list[Any] = []
    begin = WedgeTask.__init__

    def watched(self: WedgeTask, learned: Any, blocks: Any, options: Any, *more: Any) -> None:
        found.append((options, blocks))
        begin(self, learned, blocks, options, *more)

    monkeypatch.setattr(WedgeTask, "__init__", watched)
    return found


def test_it_leaves_a_network_with_its_settings_and_nothing_else(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path, 2)
    result, _ = refine(star, tmp_path / "out")
    assert set(result["outputs"]) == WANTED
    assert {path.name for path in (tmp_path / "out").iterdir()} == WANTED | {"job.yaml", "run.log", "result.json"}
    state = json.loads((tmp_path / "out" / "refine.json").read_text())
    assert (state["steps_done"], len(state["losses"])) == (3, 3)
    assert (state["options"]["method"], state["options"]["mw_weight"]) == ("n2n-mw", 20.0)
    assert (state["pixel_size_A"], state["reduced_by"]) == (PIXEL_A, 1)
    assert state["sectors_deg"] == [[[-60.0, 60.0]]] * 2
    assert (tmp_path / "out" / "loss.csv").read_text().startswith("step,loss\n1,")
    stored = read_wedge_network(tmp_path / "out" / "model.safetensors")
    assert is_wedge_network(tmp_path / "out" / "model.safetensors")
    assert stored.settings["options"] == state["options"]
    assert "losses" not in stored.settings
    assert result["metrics"]["held_out"] is not None


@pytest.mark.parametrize(
    ("given", "halves", "method", "weight", "paired"),
    [
        ({}, True, "n2n-mw", 20.0, True),
        ({}, False, "isonet2", 4.0, False),
        ({"method": "isonet2", "mw_weight": -1}, True, "isonet2", 1.0, False),
        ({"method": "n2n"}, True, "n2n", 1.0, True),
        ({"method": "n2n-mw", "mw_weight": 200}, True, "n2n-mw", 200.0, True),
    ],
)
def test_methods_read_what_they_need_and_weigh_the_wedge(
    tmp_path: Path,
    seen_options: list[Any],
    given: dict[str, Any],
    halves: bool,
    method: str,
    weight: float,
    paired: bool,
) -> None:
    star = halved_tomograms(tmp_path, halves=halves)
    result, _ = refine(star, tmp_path / "out", **given)
    (options, blocks), *_ = seen_options
    assert result["options"]["method"] == method
    assert (options.wedge_weight, options.free_rotations) == (weight, 0.2)
    assert torch.equal(blocks[0].halves[0], blocks[0].halves[1]) != paired


def test_isonet2_learns_from_the_deconvolved_tomogram_where_there_is_one(
    tmp_path: Path, seen_options: list[Any]
) -> None:
    star = halved_tomograms(tmp_path, halves=False, rlnDeconvTomoName="deconv.mrc")
    raw, _ = mrc.read(tmp_path / "tomo1.mrc")
    mrc.write_atomically(tmp_path / "deconv.mrc", np.ascontiguousarray(raw[:, ::-1]), PIXEL_A)
    for number, given in enumerate(({}, {"use_deconv_tomo": False}, {"ctf_mode": "phase_only"})):
        _, log = refine(star, tmp_path / f"out{number}", **given)
    deconvolved, whole, flipped = (blocks[0].halves[0] for _, blocks in seen_options)
    turned = whole.flip(1)
    likeness = torch.corrcoef(torch.stack((deconvolved.flatten(), turned.flatten())))[0, 1]
    assert float(likeness) > 0.9
    assert not torch.allclose(flipped, deconvolved)
    assert "tomograms are read as they are, not deconvolved" in log


class _FarEnoughError(Exception):
    """The training is about to begin."""


def test_tilts_come_from_the_list_then_the_table_and_are_overruled_by_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def stop(_: WedgeTask, learned: Any, blocks: Any, *more: Any) -> None:
        found.append(blocks[0].wedge.sectors_deg)
        raise _FarEnoughError

    monkeypatch.setattr(WedgeTask, "__init__", stop)
    (tmp_path / "t.tlt").write_text("".join(f"{angle}\n" for angle in range(-48, 61, 3)))
    listed = halved_tomograms(tmp_path, rlnTiltAngleFile="t.tlt", rlnTiltMin=-40, rlnTiltMax=40)
    for options in ({}, {"tilt_min": -50, "tilt_max": 45}):
        with pytest.raises(_FarEnoughError):
            refine(listed, tmp_path / f"out{len(found)}", **options)
    with pytest.raises(_FarEnoughError):
        refine(halved_tomograms(tmp_path, rlnTiltMin=-40, rlnTiltMax=52), tmp_path / "ranged")
    assert found == [((-49.5, 61.5),), ((-50.0, 45.0),), ((-40.0, 52.0),)]


@pytest.mark.parametrize(("stop", "watched"), [(30, {}), (48, {}), (48, {"patience": 50, "steps_per_epoch": 10})])
def test_a_job_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, stop: int, watched: dict[str, int]) -> None:
    star = halved_tomograms(tmp_path, 2, side=24)
    options = {**QUICK, "steps": 50, "checkpoint_every_s": 1e-9, **watched}
    refine(star, tmp_path / "whole", **options)
    spec = spec_of(star, tmp_path / "killed", options)
    steps = run_job(spec, CPU)
    for step in steps:
        if step is not None and f" {stop}/50" in step.text:
            break
    steps.close()
    torch.rand(5)
    _, log = refine(star, tmp_path / "killed", **options)
    assert ("goes on after step 40" in log) == (stop > 40)
    assert same(tmp_path / "whole", tmp_path / "killed")
    whole, killed = ((tmp_path / name / "loss.csv").read_text() for name in ("whole", "killed"))
    assert whole == killed
    assert ("loss_kept_out" in whole) == bool(watched)
    assert not list((tmp_path / "killed").glob(".*.safetensors"))


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path)
    refine(star, tmp_path / "alone")
    job = parse_job(spec_of(star, tmp_path / "shared", QUICK), "test").resolved(tmp_path)

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
    assert shared["metrics"]["steps"] == 3
    one, other = weights(tmp_path / "alone"), weights(tmp_path / "shared")
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", ["refine.json", "model.safetensors"])
def test_going_on_keeps_every_setting_but_those_that_are_given(
    tmp_path: Path, seen_options: list[Any], name: str
) -> None:
    star = halved_tomograms(tmp_path)
    refine(star, tmp_path / "first", method="n2n", learning_rate=1e-3, seed=3, random_rot_weight=0.7)
    inputs = {"star": star, "continue_from": tmp_path / "first" / name}
    result, _ = run_map_job("tomo.refine", tmp_path / "second", inputs, {"steps": 5})
    told = result["options"]
    assert (told["method"], told["learning_rate"], told["random_rot_weight"]) == ("n2n", 1e-3, 0.7)
    first, second = (options for options, _ in seen_options)
    assert (first.steps, second.steps, second.base_width, second.cube_size) == (3, 2, 2, 16)
    assert second.seed != first.seed
    state = json.loads((tmp_path / "second" / "refine.json").read_text())
    assert state["steps_done"] == 5
    assert len(state["losses"]) == (5 if name == "refine.json" else 2)
    result, _ = run_map_job("tomo.refine", tmp_path / "third", inputs, {"epochs": 2, "steps_per_epoch": 3})
    assert result["metrics"]["steps"] == 6


def test_a_network_that_learned_before_is_started_from(tmp_path: Path, seen_options: list[Any]) -> None:
    star = halved_tomograms(tmp_path)
    refine(star, tmp_path / "first")
    refine(star, tmp_path / "next", {"pretrained_model": tmp_path / "first" / "model.safetensors"}, base_width=4)
    assert [options.learning_rate for options, _ in seen_options] == [2e-3, 5e-4]
    assert seen_options[1][0].base_width == 2


def test_what_only_isonet_asks_for_is_told(tmp_path: Path) -> None:
    given = {"iterations": 3, "noise_level": "0.1", "steps": 1, "arch": "unet-medium", "with_preview": False}
    _, log = refine(halved_tomograms(tmp_path), tmp_path / "out", **given)
    assert log.count("iterations, noise_level had no effect: only the method isonet") == 1
    assert log.count("arch, with_preview had no effect: nothing of that sort is needed here") == 1


def test_a_wiener_filter_and_a_bfactor_change_what_is_learned_from_and_are_kept(
    tmp_path: Path, seen_options: list[Any]
) -> None:
    star = halved_tomograms(tmp_path)
    given = {"CTF_mode": "wiener", "deconvstrength": 2, "steps": 1}
    refine(star, tmp_path / "plain", **given)
    refine(star, tmp_path / "sharp", **given, bfactor=500)
    told = read_wedge_network(tmp_path / "sharp" / "model.safetensors").settings["options"]
    assert (told["ctf_mode"], told["deconvstrength"], told["bfactor"]) == ("wiener", 2.0, 500.0)
    plain, sharp = (blocks[0] for _, blocks in seen_options)
    assert plain.transfer is None
    powers = []
    for volume in (plain.halves[1], sharp.halves[1], torch.from_numpy(mrc.read(tmp_path / "tomo1_odd.mrc")[0])):
        at = 2 * radius(volume.shape) * len(volume) / 40
        power = torch.fft.rfftn(volume - volume.mean()).abs().square()
        low, high = (float(power[(at > one) & (at < one + 0.04)].sum()) for one in (0.2, 0.4))
        powers.append(high / low)
    ctf = ctf_curve(OPTICS, torch.tensor([0.22, 0.42]))
    weight = (ctf / (ctf.square() + 1 / 200)).square()
    assert powers[0] / powers[2] == pytest.approx(float(weight[1] / weight[0]), rel=0.25)
    raised = math.exp(500 / PIXEL_A**2 * (0.21**2 - 0.11**2) / 2)
    assert powers[1] / powers[0] == pytest.approx(raised, rel=0.05)


Spoil = Callable[[Path], tuple[Path, dict[str, Path], dict[str, Any]]]


def no_halves(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    return halved_tomograms(folder, halves=False), {}, {"method": "n2n"}


def one_half(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    return halved_tomograms(folder, rlnTomoReconstructedTomogramHalf2="None"), {}, {"method": "n2n-mw"}


def no_defocus(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    return halved_tomograms(folder, rlnDefocus=0), {}, {"ctf_mode": "network"}


def large_cube(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    return halved_tomograms(folder), {}, {"cube_size": 64}


def finished(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    star = halved_tomograms(folder)
    refine(star, folder / "first")
    return star, {"continue_from": folder / "first" / "refine.json"}, {}


def no_state(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    star = halved_tomograms(folder)
    refine(star, folder / "first")
    state = json.loads((folder / "first" / "refine.json").read_text())
    del state["steps_done"]
    (folder / "first" / "refine.json").write_text(json.dumps(state))
    return star, {"continue_from": folder / "first" / "refine.json"}, {}


def weight_of_another(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    return halved_tomograms(folder), {}, {"method": "n2n", "mw_weight": 20}


def foreign_network(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    (folder / "m.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(3)}))
    return halved_tomograms(folder), {"pretrained_model": folder / "m.safetensors"}, {}


def no_table(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Any]]:
    (folder / "tomograms.star").write_text("nothing\n")
    return folder / "tomograms.star", {}, {}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_halves, "row 1 has no even and odd halves, and n2n learns from one towards the other"),
        (one_half, "row 1 has no even and odd halves"),
        (no_defocus, "row 1 has no defocus, which 'ctf_mode: network' needs"),
        (large_cube, "no tomogram holds a cube of 64 voxels"),
        (finished, "its 3 steps are done; give more"),
        (no_state, "does not say what was done"),
        (weight_of_another, "mw_weight 20 is of the method n2n-mw"),
        (foreign_network, "is no network of tomo refine or tomo correct"),
        (no_table, "tomograms.star"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, spoil: Spoil, words: str) -> None:
    star, inputs, options = spoil(tmp_path)
    with pytest.raises(InputInvalid) as caught:
        refine(star, tmp_path / "out", inputs, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_training_ends_where_tomograms_kept_out_gain_nothing(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path, 2, side=24)
    still = {"learning_rate": 1e-30, "steps": 12, "steps_per_epoch": 2, "patience": 2}
    result, log = refine(star, tmp_path / "out", **still)
    assert result["metrics"]["steps"] == 6
    assert result["metrics"]["loss_kept_out"] > 0
    assert "ended after 6 steps: the last 2 looks at cubes that were kept out found no better loss" in log
    rows = (tmp_path / "out" / "loss.csv").read_text().splitlines()
    assert rows[0] == "step,loss,loss_kept_out"
    assert [len(row.split(",")[2]) > 0 for row in rows[1:]] == [False, True] * 3
    assert json.loads((tmp_path / "out" / "refine.json").read_text())["steps_done"] == 6
    assert (
        "16 cubes, looked at every 2 steps, which ended the training" in (tmp_path / "out" / "report.html").read_text()
    )


def test_patience_without_room_to_keep_cubes_out_is_said_and_changes_nothing(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path, 1, side=24)
    _, log = refine(star, tmp_path / "asked", patience=1, steps_per_epoch=1)
    refine(star, tmp_path / "not", steps_per_epoch=1)
    assert "'patience' has no effect: the tomogram is 24 reduced voxels long" in log
    assert same(tmp_path / "asked", tmp_path / "not")
