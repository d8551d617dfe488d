"""Inputs are known by their hash; a file is read for it once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryobridge.bridge.worker.jobs.input_records import InputRecords


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path, records = tmp_path / "a", InputRecords()
    path.write_bytes(b"one")
    first = records.record(path)
    assert records.record(path) is first
    path.write_bytes(b"two")
    assert records.hash_of(path) == hashlib.sha256(b"two").hexdigest() != first.sha256


def test_a_folder_is_known_by_what_it_lists(tmp_path: Path) -> None:
    (tmp_path / "movies" / "day1").mkdir(parents=True)
    for name in ("b.eer", "a.eer", "day1/c.eer"):
        (tmp_path / "movies" / name).write_bytes(b"12345")
    records = InputRecords()
    first = records.record(tmp_path / "movies")
    assert first.size_bytes == 15
    assert records.hash_of(tmp_path / "movies") == first.sha256
    (tmp_path / "movies" / "day1" / "d.eer").write_bytes(b"")
    assert records.hash_of(tmp_path / "movies") != first.sha256
