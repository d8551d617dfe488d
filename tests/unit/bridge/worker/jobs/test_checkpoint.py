"""Checkpoints: what comes back is what was kept, for the same job only, and never a half of it."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.correction_job import correction_job
from support.made_up_kind import made_up_kind
from support.made_up_kind import spec as made_up_spec

from cryobridge.bridge.worker.jobs import input_records
from cryobridge.bridge.worker.jobs.checkpoint import Checkpoint, Checkpoints, digest_of
from cryobridge.bridge.worker.jobs.input_records import InputRecords
from cryobridge.schemas.job import parse_job

KEPT = Checkpoint(
    {"a": torch.arange(6.0).view(2, 3), "count": torch.tensor(7), "b": torch.randn(3, 2).T}, {"losses": [0.1, 1e-17]}
)


def same(first: Checkpoint | None, second: Checkpoint) -> bool:
    return (
        first is not None
        and first.note == second.note
        and first.tensors.keys() == second.tensors.keys()
        and all(torch.equal(first.tensors[name], second.tensors[name]) for name in second.tensors)
    )


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "d")
    assert checkpoints.read("x") is None
    checkpoints.write("x", KEPT)
    assert same(checkpoints.read("x"), KEPT)
    newer = Checkpoint({"a": torch.zeros(1)}, {})
    checkpoints.write("x", newer)
    assert same(checkpoints.read("x"), newer)
    assert [path.name for path in tmp_path.iterdir()] == [".x.safetensors"]


def test_another_jobs_checkpoint_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Checkpoints(tmp_path, "d").write("x", KEPT)
    assert Checkpoints(tmp_path, "e").read("x") is None
    assert "of another job" in caplog.text


@pytest.mark.parametrize("where", [0, 3, 12, 200, -1])
def test_a_damaged_checkpoint_is_none(tmp_path: Path, where: int, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints(tmp_path, "d")
    checkpoints.write("x", KEPT)
    path = tmp_path / ".x.safetensors"
    whole = bytearray(path.read_bytes())
    whole[where] ^= 0x55
    path.write_bytes(whole)
    assert checkpoints.read("x") is None
    assert "damaged" in caplog.text
    whole[where] ^= 0x55
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert checkpoints.read("x") is None


@pytest.mark.parametrize("sort", ["hole", "of another job", "made up"])
def test_of_a_checkpoint_that_is_none_nothing_is_held_however_large_it_is(tmp_path: Path, sort: str) -> None:
    note = {"digest": "e" if sort == "of another job" else "d", "crc32": 1, "note": {}}
    table = {
        "__metadata__": {"cryobridge": json.dumps(note)},
        "x": {"dtype": "F32", "shape": [1 << 26], "data_offsets": [0, 1 << 28]},
    }
    raw = json.dumps(table).encode()
    path = tmp_path / ".x.safetensors"
    path.write_bytes(b"" if sort == "hole" else struct.pack("<Q", len(raw)) + raw)
    os.truncate(path, 8 + len(raw) + (1 << 28))
    tracemalloc.start()
    assert Checkpoints(tmp_path, "d").read("x") is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.timeout(10)
def test_a_pipe_or_a_link_in_its_place_is_none(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "d").write("x", KEPT)
    os.mkfifo(tmp_path / ".pipe.safetensors")
    (tmp_path / ".link.safetensors").symlink_to(".x.safetensors")
    for name in ("pipe", "link"):
        assert Checkpoints(tmp_path, "d").read(name) is None


def test_removing_takes_what_a_kill_left_too(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "d")
    checkpoints.write("x", KEPT)
    (tmp_path / "..x.safetensors.0123456789abcdef.part").write_bytes(b"half")
    (tmp_path / "result.json").write_text("{}")
    Checkpoints(tmp_path, "d", read_only=True).remove("x")
    assert len(list(tmp_path.iterdir())) == 3
    checkpoints.remove("x", "y")
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_one_of_several_processes_writes_nothing(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "d", read_only=True).write("x", KEPT)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_is_of_options_and_content(tmp_path: Path) -> None:
    spec = correction_job(tmp_path)
    digest = digest_of(parse_job(spec, "test"), {"seed": 1})
    assert digest_of(parse_job({**spec, "run": {"threads": 3}}, "test"), {"seed": 1}) == digest
    assert digest_of(parse_job(spec, "test"), {"seed": 2}) != digest
    assert digest_of(parse_job({**spec, "options": {"ensemble": 2}}, "test"), {"seed": 1}) != digest
    data = bytearray((tmp_path / "half2.mrc").read_bytes())
    data[-1] ^= 1
    (tmp_path / "half2.mrc").write_bytes(data)
    assert digest_of(parse_job(spec, "test"), {"seed": 1}) != digest


def test_a_digest_is_of_every_member_of_a_list_and_of_what_a_folder_lists(tmp_path: Path) -> None:
    for name in ("map", "a", "b"):
        (tmp_path / f"{name}.mrc").write_bytes(name.encode())
    (tmp_path / "movies").mkdir()
    with made_up_kind():
        job = parse_job(made_up_spec(tmp_path, movies="movies"), "job").resolved(tmp_path)
    digests = [digest_of(job, {})]
    (tmp_path / "b.mrc").write_bytes(b"other")
    digests.append(digest_of(job, {}))
    (tmp_path / "movies" / "new.eer").write_bytes(b"1")
    digests.append(digest_of(job, {}))
    assert len(set(digests)) == 3
    assert digest_of(job, {}) == digests[-1]


def test_an_input_that_was_read_for_its_hash_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, known = parse_job(correction_job(tmp_path), "test"), InputRecords()
    digest = digest_of(job, {}, known)
    monkeypatch.setattr(input_records, "file_record", None)
    assert digest_of(job, {}, known) == digest


@pytest.mark.timeout(20)
@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_under_a_checkpoints_name_is_none(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    plant(tmp_path / ".x.safetensors")
    assert Checkpoints(tmp_path, "d").read("x") is None
