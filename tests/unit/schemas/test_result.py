"""The result beside every output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.result import FileRecord, JobResult, OutputRecord, read_result

RESULT = JobResult(
    kind="map.fsc3d",
    versions={"cryobridge": "0.1"},
    inputs={"half1": FileRecord(path="/a.mrc", sha256="0" * 64, size_bytes=1)},
    outputs={},
    options={"half_angle_deg": 10.0},
    device="cpu",
    started_at="2026-01-01T00:00:00+00:00",
    timings_s={"total": 1.5},
    metrics={"resolution_A": 3.2},
)


def test_a_result_that_was_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(RESULT.as_json())
    assert '"schema": "cryobridge/result/1"' in RESULT.as_json()
    assert read_result(tmp_path) == RESULT


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "result.json"),
        ("{", "result.json"),
        (RESULT.as_json().replace("cryobridge/result/1", "cryobridge/result/9"), "schema"),
        (RESULT.as_json().replace('"device"', '"devise"'), "did you mean 'device'"),
        (RESULT.as_json().replace("0" * 64, "no hash"), "sha256"),
    ],
    ids=["empty", "cut", "other schema", "other key", "no hash"],
)
def test_a_spoilt_result_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(InputInvalid, match=sentence):
        read_result(tmp_path)


def test_outputs_say_what_they_are_and_older_results_need_not(tmp_path: Path) -> None:
    record = {"path": "/out/m.mrc", "sha256": "0" * 64, "size_bytes": 1}
    new = JobResult.model_validate({**RESULT.model_dump(by_alias=True), "outputs": {"m.mrc": record}})
    assert (new.outputs["m.mrc"].type, new.outputs["m.mrc"].role) == (None, None)
    typed = new.model_copy(update={"outputs": {"m.mrc": OutputRecord(**record, type="map", role="map")}})
    (tmp_path / "result.json").write_text(typed.as_json())
    assert read_result(tmp_path).outputs["m.mrc"].type == "map"


def test_a_pipe_under_the_name_of_a_result_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(InputInvalid, match="not a plain file"):
        read_result(tmp_path)


def test_a_folder_without_a_result_has_not_finished(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="has not finished"):
        read_result(tmp_path)
