"""The file for the node exporter: whole, readable by another user, never half-written, and gone in the end."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from cryobridge.bridge.daemon.aside import Aside
from cryobridge.bridge.daemon.metrics_file import MetricsFile
from cryobridge.bridge.daemon.outlook import DeviceMemory
from cryobridge.bridge.gpus import Gpu


def test_the_file_is_whole_readable_by_all_and_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "cryobridge.prom"
    file = MetricsFile(path)
    umask = os.umask(0o077)
    try:
        file.write("a 1\n")
        first = path.stat()
        file.write("a 2\n")
    finally:
        os.umask(umask)
    assert path.read_text() == "a 2\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.stat().st_ino != first.st_ino, "a reader of the old one reads it to its end"
    assert os.listdir(tmp_path) == [path.name]
    file.remove()
    file.remove()
    assert os.listdir(tmp_path) == []


def test_what_a_killed_daemon_left_is_no_hindrance_and_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("dear")
    (tmp_path / ".m.prom.part").symlink_to(tmp_path / "victim")
    MetricsFile(tmp_path / "m.prom").write("a 1\n")
    assert (tmp_path / "victim").read_text() == "dear"
    assert (tmp_path / "m.prom").read_text() == "a 1\n"


def test_a_folder_that_is_not_there_is_said_once_and_again_when_it_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = MetricsFile(tmp_path / "later" / "m.prom")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            file.write("a 1\n")
        (tmp_path / "later").mkdir()
        file.write("a 1\n")
        file.remove()
        (tmp_path / "later").rmdir()
        file.write("a 1\n")
    assert [record.message for record in caplog.records] == ["metrics_file cannot be written"] * 2


def test_work_beside_the_loop_is_done_one_at_a_time_and_in_its_time() -> None:
    go_on, begun = threading.Event(), []

    def work() -> None:
        begun.append(1)
        go_on.wait(10)

    aside = Aside(work, 15.0)
    aside.tick(100.0)
    aside.tick(200.0)
    aside.wait(0.01)
    assert begun == [1], "the first one hangs"
    go_on.set()
    aside.wait(10)
    assert aside.is_due(200.0)
    aside.tick(200.0)
    aside.wait(10)
    aside.tick(214.9)
    aside.wait(10)
    assert begun == [1, 1]


def test_memory_is_asked_of_gpus_that_have_workers_only() -> None:
    asked: list[int] = []

    def gpus() -> list[Gpu]:
        asked.append(1)
        return [Gpu(0, "GPU-1", "H100", total_bytes=80, free_bytes=30), Gpu(1, "GPU-2", "H100", 80, 80)]

    cpu = DeviceMemory(["cpu"], gpus)
    cpu.ask()
    assert (cpu.known(), asked) == ({}, [])
    gpu = DeviceMemory(["cuda:GPU-1", "cuda:GPU-lost"], gpus)
    gpu.ask()
    assert gpu.known() == {"cuda:GPU-1": (80, 30)}
