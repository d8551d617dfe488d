"""Jobs in a worker: results are whole, and what is there already is neither overwritten nor made twice."""

from __future__ import annotations

import collections
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.correction_job import correction_job
from support.made_up_kind import made_up_kind
from support.made_up_kind import spec as made_up_spec

from cryobridge.bridge.worker import run as foreground_run
from cryobridge.bridge.worker.jobs import input_records
from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.bridge.worker.jobs.room import FreeMemory, shortages
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.schemas.errors import DeadlineExceeded, InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.kinds.map.fsc3d import MapFsc3dJob
from cryobridge.schemas.result import read_result
from cryobridge.schemas.wire import EXIT_FAILED
from cryobridge.wrappers.formats import mrc

pytestmark = pytest.mark.slow

BOX = 16


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((BOX,) * 3)
    for name in ("half1", "half2"):
        noisy = (signal + generator.standard_normal(signal.shape)).astype(np.float32)
        mrc.write_atomically(tmp_path / f"{name}.mrc", noisy, 2.0)
    return {
        "schema": "cryobridge/job/1",
        "kind": "map.fsc3d",
        "inputs": {name: str(tmp_path / f"{name}.mrc") for name in ("half1", "half2")},
        "output": str(tmp_path / "out"),
        "run": {"request_id": "a"},
    }


def run(spec: dict[str, Any]) -> dict[str, Any]:
    steps = run_job(spec, torch.device("cpu"))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return dict(end.value)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_result_names_its_files_and_what_they_were_made_with(spec: dict[str, Any], tmp_path: Path) -> None:
    result = run(spec)
    assert read_result(tmp_path / "out").as_json() == (tmp_path / "out" / "result.json").read_text()
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(contents(tmp_path / "out")) == {
        "FSC3D.mrc",
        "fsc.csv",
        "job.yaml",
        "report.html",
        "result.json",
        "run.log",
    }
    volume, header = mrc.read(tmp_path / "out" / "FSC3D.mrc")
    assert volume.shape == (BOX,) * 3
    assert volume[BOX // 2, BOX // 2, BOX // 2] == 1
    assert header.voxel_size_A == (2.0, 2.0, 2.0)


def test_a_request_that_was_finished_is_not_run_again(spec: dict[str, Any], tmp_path: Path) -> None:
    """The daemon died between the worker's last file and its own book."""
    first = run(spec)
    before = contents(tmp_path / "out")
    assert run(spec) == first
    assert contents(tmp_path / "out") == before


@pytest.mark.slow
def test_a_request_that_ended_what_another_had_begun_is_not_run_again_either(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    run(spec)
    (tmp_path / "out" / "result.json").unlink()
    other = {**spec, "run": {"request_id": "b"}}
    second = run(other)
    before = contents(tmp_path / "out")
    assert run(other) == second
    assert contents(tmp_path / "out") == before


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"request_id": "b"}, {"request_id": None}, {"request_id": "a", "deadline_s": 9}])
def test_another_request_never_touches_a_finished_result(
    spec: dict[str, Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    run(spec)
    before = contents(tmp_path / "out")
    with pytest.raises(InputInvalid, match="holds a finished result"):
        run({**spec, "run": change})
    assert contents(tmp_path / "out") == before


@pytest.mark.slow
def test_what_an_interrupted_attempt_left_does_not_stop_the_next(spec: dict[str, Any], tmp_path: Path) -> None:
    first = run(spec)
    (tmp_path / "out" / "result.json").unlink()
    (tmp_path / "out" / "FSC3D.mrc").write_bytes(b"half")
    again = run(spec)
    assert again["outputs"] == first["outputs"]
    assert again["metrics"] == first["metrics"]


def flat(folder: Path) -> None:
    mrc.write_atomically(folder / "half2.mrc", np.zeros((BOX,) * 3, dtype=np.float32), 2.0)


def small(folder: Path) -> None:
    mrc.write_atomically(folder / "half2.mrc", np.ones((8, 8, 8), dtype=np.float32), 2.0)


def oblong(folder: Path) -> None:
    for name in ("half1", "half2"):
        mrc.write_atomically(folder / f"{name}.mrc", np.ones((8, 8, 10), dtype=np.float32), 2.0)


def finer(folder: Path) -> None:
    volume, _ = mrc.read(folder / "half2.mrc")
    mrc.write_atomically(folder / "half2.mrc", volume, 1.0)


def not_finite(folder: Path) -> None:
    raw = bytearray((folder / "half2.mrc").read_bytes())
    raw[2000:2004] = np.float32(np.nan).tobytes()
    (folder / "half2.mrc").write_bytes(raw)


def cut(folder: Path) -> None:
    (folder / "half2.mrc").write_bytes((folder / "half2.mrc").read_bytes()[:-100])


def no_map(folder: Path) -> None:
    (folder / "half2.mrc").write_text("not a map")


BAD = [
    (flat, "all voxels are 0"),
    (small, "box 8 is not that of"),
    (oblong, "is not a cube"),
    (finer, "voxel size 1 A is not that of"),
    (not_finite, "half2.mrc"),
    (cut, "half2.mrc"),
    (no_map, "half2.mrc"),
]


@pytest.mark.parametrize(("spoil", "sentence"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_a_bad_map_is_one_sentence_and_leaves_nothing(
    spec: dict[str, Any], tmp_path: Path, spoil: Any, sentence: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(InputInvalid, match=sentence) as caught:
        run(spec)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_empty_mask_is_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    mrc.write_atomically(tmp_path / "mask.mrc", np.zeros((BOX,) * 3, dtype=np.float32), 2.0)
    spec["inputs"]["mask"] = str(tmp_path / "mask.mrc")
    with pytest.raises(InputInvalid, match="the mask is empty"):
        run(spec)


def test_the_log_tells_how_the_job_went(spec: dict[str, Any], tmp_path: Path) -> None:
    run(spec)
    lines = (tmp_path / "out" / "run.log").read_text().splitlines()
    words = ["map.fsc3d begins", "3DFSC to", "finished after"]
    assert [any(word in line for line in lines) for word in words] == [True] * 3
    assert len(lines) == len(set(lines))


def test_a_job_that_is_given_up_halfway_is_closed(spec: dict[str, Any], tmp_path: Path) -> None:
    steps = run_job(spec, torch.device("cpu"))
    next(steps)
    steps.close()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_processes_do_not_work_in_one_folder(spec: dict[str, Any], tmp_path: Path) -> None:
    job = parse_job(spec, "job")
    first = OutputFolder(job, torch.device("cpu"))
    first.open()
    before = contents(tmp_path / "out")
    with pytest.raises(InputInvalid, match="another process is at work"):
        run(spec)
    assert contents(tmp_path / "out") == before
    first.close()
    run(spec)
    assert not (tmp_path / "out" / ".lock").exists()


@pytest.mark.slow
def test_a_finished_job_that_is_made_again_is_not_said_to_go_on(spec: dict[str, Any], tmp_path: Path) -> None:
    run(spec)
    run({**spec, "run": {"overwrite": True}})
    assert "goes on" not in (tmp_path / "out" / "run.log").read_text()


def test_a_pipe_under_the_name_of_a_job_is_not_waited_for(spec: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "job.yaml")
    with pytest.raises(InputInvalid, match="holds another, unfinished job"):
        run(spec)


def test_a_job_that_takes_too_long_ends_between_two_steps(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["run"] = {"deadline_s": 1e-9}
    with pytest.raises(DeadlineExceeded, match="took longer than deadline_s = 1e-09 s") as caught:
        run(spec)
    assert caught.value.code == "timeout"
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_job_that_is_run_in_the_foreground_has_its_deadline(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.json").write_text(json.dumps({**spec, "run": {"deadline_s": 1e-9, "devices": "cpu"}}))
    monkeypatch.setattr("sys.argv", ["run", str(tmp_path / "job.json")])
    assert foreground_run.main() == EXIT_FAILED
    assert capsys.readouterr().err.splitlines()[-1] == "took longer than deadline_s = 1e-09 s"


def test_too_little_memory_is_said_before_the_job_and_in_its_log(spec: dict[str, Any], tmp_path: Path) -> None:
    little = FreeMemory(on_host=lambda: 1000)
    steps = run_job(spec, torch.device("cpu"), little)
    first = next(steps)
    assert first is not None
    assert first.text.startswith("map.fsc3d wants about 0.1 GB of memory for a box of 16")
    assert not (tmp_path / "out").exists()
    list(steps)
    assert "it may be slow, or fail" in (tmp_path / "out" / "run.log").read_text()


def test_enough_memory_is_no_word(spec: dict[str, Any], tmp_path: Path) -> None:
    assert shortages(parse_job(spec, "job"), torch.device("cpu"), FreeMemory(on_host=lambda: 10**12)) == []
    on_gpu = FreeMemory(on_host=lambda: 10**12, on_device=lambda _: 1000)
    lines = shortages(parse_job(spec, "job"), torch.device("cuda"), on_gpu)
    assert len(lines) == 1
    assert "of cuda for a box of 16" in lines[0]


def test_options_that_do_not_go_together_are_left_to_the_kind_to_refuse(tmp_path: Path) -> None:
    job = parse_job(correction_job(tmp_path, method="published", batch=3), "job")
    assert shortages(job, torch.device("cpu"), FreeMemory(on_host=lambda: 0)) == []


def test_a_box_that_cannot_be_told_is_no_shortage(spec: dict[str, Any], tmp_path: Path) -> None:
    for name in ("half1", "half2"):
        (tmp_path / f"{name}.mrc").write_text("no map")
    assert shortages(parse_job(spec, "job"), torch.device("cpu"), FreeMemory(on_host=lambda: 0)) == []


def test_outputs_are_recorded_as_they_are_declared(spec: dict[str, Any]) -> None:
    outputs = run(spec)["outputs"]
    assert (outputs["FSC3D.mrc"]["type"], outputs["FSC3D.mrc"]["role"]) == ("fourier_volume", "fsc3d")
    assert {name: record["type"] for name, record in outputs.items() if name != "FSC3D.mrc"} == {
        "fsc.csv": "table",
        "report.html": "report",
    }


def test_a_file_that_is_not_declared_is_logged_and_kept(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MapFsc3dJob, "outputs", MapFsc3dJob.outputs[1:])
    outputs = run(spec)["outputs"]
    assert outputs["FSC3D.mrc"]["type"] is None
    assert "map.fsc3d: FSC3D.mrc was written, but is not declared" in caplog.text
    assert (tmp_path / "out" / "FSC3D.mrc").exists()


def test_each_input_is_read_once_to_use_it_and_once_for_its_hash(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: collections.Counter[str] = collections.Counter()
    parse, record = mrc.read, input_records.file_record

    def counted(path: Any, **named: Any) -> Any:
        read[Path(path).name] += 1
        return parse(path, **named)

    def counted_record(path: Path) -> Any:
        read[path.name] += 1
        return record(path)

    monkeypatch.setattr(mrc, "read", counted)
    monkeypatch.setattr(input_records, "file_record", counted_record)
    run(spec)
    assert read == {"half1.mrc": 2, "half2.mrc": 2}


@pytest.mark.parametrize("output", ["movies", "movies/out", "."])
def test_an_input_folder_and_the_output_folder_lie_apart(tmp_path: Path, output: str) -> None:
    (tmp_path / "movies").mkdir()
    with made_up_kind():
        job = parse_job(
            made_up_spec(tmp_path, movies="movies", map="x/map.mrc", tilt_series=["x/a.mrc"]), "job"
        ).resolved(tmp_path)
        with pytest.raises(InputInvalid, match=r"movies \(movies\): must not hold the output folder, nor lie in it"):
            OutputFolder(job.model_copy(update={"output": tmp_path / output}), torch.device("cpu"))
        OutputFolder(job, torch.device("cpu"))
