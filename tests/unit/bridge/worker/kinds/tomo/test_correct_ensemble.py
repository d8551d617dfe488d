"""Ensembles of `tomo.correct`: the mean of networks from different seeds, how far they differ, and going on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.halved_tomogram import halves, truth, write_halves
from support.map_jobs import run_map_job

from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.kinds.tomo.correct.page import ensemble_lines
from cryobridge.bridge.worker.tomograms import wedge_trials
from cryobridge.bridge.worker.tomograms.wedge_network import read_wedge_network
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc

FAST: dict[str, Any] = {
    "start": "untrained",
    "base_width": 2,
    "cube_size": 16,
    "batch": 2,
    "steps": 4,
    "check_wedge": False,
    "preview_every_s": 0,
}
CORRECTED = "ts1_corrected.mrc"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tomogram, without halves of its own: then a result is linear in what the network answers."""
    made = tmp_path_factory.mktemp("tomograms")
    write_halves(made, "ts1", *halves(truth((16, 32, 32))))
    return made / "even"


@pytest.fixture(scope="module")
def of_two(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A correction by two networks; not to be changed."""
    out = tmp_path_factory.mktemp("corrected") / "out"
    result, _ = run_map_job("tomo.correct", out, {"tomograms": source}, {**FAST, "ensemble": 2})
    return out, result


def read(path: Path) -> np.ndarray:
    return np.array(mrc.read(path)[0], dtype=np.float64)


def steps_of(source: Path, out: Path) -> Iterator[Any]:
    return run_job(
        {
            "schema": "cryobridge/job/1",
            "kind": "tomo.correct",
            "inputs": {"tomograms": str(source)},
            "output": str(out),
            "options": {**FAST, "ensemble": 2},
        },
        torch.device("cpu"),
    )


def test_two_networks_are_left_and_told(of_two: tuple[Path, dict[str, Any]]) -> None:
    out, result = of_two
    assert {"network.safetensors", "network_2.safetensors"} <= set(result["outputs"])
    first, second = (safetensors.torch.load_file(out / f"network{one}.safetensors") for one in ("", "_2"))
    assert not torch.equal(first["first.weight"], second["first.weight"])
    metrics = result["metrics"]
    assert metrics["networks"] == 2
    assert 0 < metrics["spread"] < 1.5
    assert result["seeds"] == {"network": 0, "network_2": 1}
    assert any("mean of 2 networks" in line for line in result["statements"])
    page = (out / "report.html").read_text()
    assert f"networks differ by {metrics['spread']:.2f} of what is filled in" in page
    assert "ensemble of 2" in page


def test_the_result_is_the_mean_of_what_each_gives_alone(
    source: Path, of_two: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = of_two
    alone = []
    for number, name in enumerate(("network.safetensors", "network_2.safetensors")):
        inputs = {"tomograms": source, "network": out / name}
        options = {"steps": 0, "check_wedge": False}
        result, _ = run_map_job("tomo.correct", tmp_path / f"out{number}", inputs, options)
        assert (result["metrics"]["networks"], result["metrics"]["spread"]) == (1, None)
        alone.append(read(tmp_path / f"out{number}" / CORRECTED))
    found, apart = read(out / CORRECTED), np.abs(alone[0] - alone[1]).max()
    np.testing.assert_allclose(found, (alone[0] + alone[1]) / 2, atol=0.01 * apart)


@pytest.mark.slow
def test_a_job_that_was_cut_off_trains_no_network_again(
    source: Path, of_two: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = of_two
    cut = tmp_path / "cut"
    going = steps_of(source, cut)
    for step in going:
        if step is not None and "learning (anew, network 2 of 2) 2/4" in step.text:
            break
    going.close()  # type: ignore[attr-defined]
    assert not (cut / "result.json").exists()
    said = [step.text for step in steps_of(source, cut) if step is not None]
    assert not [text for text in said if "learning (anew) " in text]
    assert [text for text in said if "learning (anew, network 2 of 2) 4/4" in text]
    assert "learning (anew) was finished before the interruption" in (cut / "run.log").read_text()
    for name in (CORRECTED, "network.safetensors", "network_2.safetensors"):
        assert (cut / name).read_bytes() == (out / name).read_bytes()
    assert not list(cut.glob(".*.safetensors"))


def test_a_network_that_did_best_untrained_stays_alone(
    source: Path, of_two: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wedge_trials, "best_of", lambda trials: trials[0])
    inputs = {"tomograms": source, "network": of_two[0] / "network.safetensors"}
    options = {"cube_size": 16, "batch": 2, "steps": 1, "ensemble": 3, "check_wedge": False, "preview_every_s": 0}
    result, _ = run_map_job("tomo.correct", tmp_path / "out", inputs, options)
    assert (result["metrics"]["network"], result["metrics"]["networks"]) == ("untouched", 1)
    assert [name for name in result["outputs"] if name.startswith("network")] == ["network.safetensors"]
    assert any("it was used alone" in line for line in result["statements"])
    used = read_wedge_network(tmp_path / "out" / "network.safetensors").weights
    given = read_wedge_network(of_two[0] / "network.safetensors").weights
    assert all(torch.equal(value, given[name]) for name, value in used.items())


@pytest.mark.parametrize("options", [{"effort": "quick"}, {"steps": 0}])
def test_an_ensemble_of_what_is_not_trained_is_refused(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(
        InputInvalid, match=r"an ensemble of 3 is of networks that were trained .* leave 'ensemble' out"
    ):
        run_map_job("tomo.correct", tmp_path / "out", {"tomograms": source}, {**options, "ensemble": 3})
    assert not (tmp_path / "out").exists()


def test_nothing_is_said_where_no_ensemble_was_wanted() -> None:
    assert ensemble_lines([], 1) == []
