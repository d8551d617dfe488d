"""Jobs as commands: help made from the models, switches that can be turned off, the check, several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from support.made_up_kind import made_up_kind

from cryobridge.bridge import cli, foreground
from cryobridge.bridge.commands import checking, kinds


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The jobs that commands would have run here; two plain files to name as half-maps."""
    seen: list[dict[str, Any]] = []
    for module in (kinds, checking):
        monkeypatch.setattr(
            module, "run_in_foreground", lambda path, **_: (seen.append(json.loads(path.read_text())), 0)[1]
        )
    monkeypatch.chdir(tmp_path)
    for name in ("a.mrc", "b.mrc"):
        (tmp_path / name).write_bytes(name.encode())
    return seen


def help_of(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run([*command, "--help"]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_tells_inputs_from_options_and_the_network_apart(capsys: pytest.CaptureFixture[str]) -> None:
    words = help_of(["map", "correct"], capsys)
    places = [words.index(f"{title}:") for title in ("Inputs", "Options", "Network and training", "Running")]
    assert places == sorted(places)
    assert "HALF1 half-map 1 (MRC, cubic)" in words
    assert places[1] < words.index("--limit-resolution-A, --limit-res") < places[2] < words.index("--cube-size")


def test_help_shows_the_defaults_of_each_device(capsys: pytest.CaptureFixture[str]) -> None:
    words = help_of(["map", "correct"], capsys)
    assert "[default: 0.5 on a CPU, 0.5 on a GPU]" not in words, "what is the same everywhere is said once"
    assert "[default: tiny" in words


def test_a_switch_that_is_on_can_be_turned_off(ran: list[dict[str, Any]]) -> None:
    command = ["map", "correct", "a.mrc", "b.mrc", "-o", "out", "--no-filter-input", "--independent"]
    assert cli.run(command) == 0
    assert ran[0]["options"] == {"filter_input": False, "independent": True}


def test_the_words_of_spisonet_are_understood(ran: list[dict[str, Any]]) -> None:
    words = "--limit_res 3.5 --alpha 1 --beta 0.5 --epochs 30 --n_subvolume 1000 --predict_crop_size 80 --batch_size 4"
    command = ["map", "correct", "a.mrc", "b.mrc", "--output_dir", "isonet_maps", *words.split(), "--ncpus", "16"]
    assert cli.run(command) == 0
    options = ran[0]["options"]
    assert (options["limit_resolution_A"], options["crop_size"], options["batch"]) == (3.5, 80, 4)
    assert ran[0]["run"]["threads"] == 16
    assert Path(ran[0]["output"]).name == "isonet_maps"


def test_inputs_of_all_sorts_can_be_written_as_a_command(ran: list[dict[str, Any]], tmp_path: Path) -> None:
    for name in ("movies", "job012"):
        (tmp_path / name).mkdir()
    words = ["a.mrc", "b.mrc", "a.mrc", "--movies", "movies", "--refinement", "job012", "--gain-reference", "b.mrc"]
    with made_up_kind() as model:
        command = kinds.command_of(model)
        assert command.main([*words, "-o", "out", "--dose_s", "2"], standalone_mode=False) == 0
        assert "MAP TILT_SERIES..." in command.get_help(click.Context(command, info_name="up"))
    job = ran[0]
    assert {key: job["inputs"][key] for key in ("map", "tilt_series", "movies", "refinement", "gain")} == {
        "map": str(tmp_path / "a.mrc"),
        "tilt_series": [str(tmp_path / "b.mrc"), str(tmp_path / "a.mrc")],
        "movies": str(tmp_path / "movies"),
        "refinement": str(tmp_path / "job012"),
        "gain": {"reference": str(tmp_path / "b.mrc")},
    }
    assert job["options"] == {"dose_s": 2.0}


def test_the_check_needs_no_folder(ran: list[dict[str, Any]]) -> None:
    assert cli.run(["check", "--devices", "cpu"]) == 0
    assert ran[0]["kind"] == "check"
    assert ran[0]["run"]["devices"] == "cpu"
    assert not Path(ran[0]["output"]).exists()


def test_several_processes_are_started_by_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Ended:
        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(foreground.subprocess, "Popen", Ended)
    job = tmp_path / "job.yaml"
    for name in ("a.mrc", "b.mrc"):
        (tmp_path / name).write_bytes(name.encode())
    job.write_text("schema: cryobridge/job/1\nkind: map.correct\ninputs: {half1: a.mrc, half2: b.mrc}\noutput: out\n")
    assert cli.run(["run", str(job), "--processes", "2"]) == 0
    assert "torch.distributed.run" in started[0]
    assert started[0][started[0].index("--nproc-per-node") + 1] == "2"
    assert cli.run(["run", str(job)]) == 0
    assert "torch.distributed.run" not in started[1]
