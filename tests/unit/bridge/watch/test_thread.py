"""Watching: each refinement is announced once, followed, and released once, whatever the order of its files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.relion_folder import project, write_iteration

from cryobridge.bridge.watch import thread as watch_thread
from cryobridge.bridge.watch.thread import MODEL_WAIT_S, STALE_AFTER_S, RefinementWatcher, WatchThread


class Told:
    """What the daemon was told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.prepared: list[Mapping[str, Any]] = []
        self.jobs: dict[str, str] = {}

    def prepare(self, refinement: Mapping[str, Any]) -> None:
        self.prepared.append(refinement)
        self.events.append(("prepare", refinement["session"], refinement["iteration"]))

    def progress(self, session: str, iteration: int) -> None:
        self.events.append(("progress", session, iteration))

    def release(self, session: str, reason: str) -> None:
        self.events.append(("release", session, reason))

    def submit(self, spec: Mapping[str, Any]) -> str:
        self.jobs[spec["run"]["request_id"]] = "1"
        return "1"

    def find(self, request_id: str) -> str | None:
        return self.jobs.get(request_id)

    def state(self, job_id: str) -> Mapping[str, Any] | None:
        return {"state": "queued"}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def job_dir(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


@pytest.fixture
def watcher(tmp_path: Path, told: Told) -> RefinementWatcher:
    return RefinementWatcher([tmp_path], told)


def test_a_refinement_is_prepared_followed_and_released(watcher: RefinementWatcher, told: Told, job_dir: Path) -> None:
    watcher.rescan()
    assert told.events == []
    write_iteration(job_dir, 0)
    watcher.rescan()
    watcher.rescan()
    assert told.events == [("prepare", f"{job_dir}/run", 0)]
    assert told.prepared[0]["mask"] == str(job_dir.parents[1] / "data" / "mask.mrc")
    assert told.prepared[0]["box"] == 64
    assert watcher.active() == [job_dir]
    write_iteration(job_dir, 1)
    watcher.rescan()
    write_iteration(job_dir, 2)
    watcher.rescan()
    assert told.events[1:] == [("progress", f"{job_dir}/run", 1), ("progress", f"{job_dir}/run", 2)]
    (job_dir / "RELION_JOB_EXIT_SUCCESS").touch()
    watcher.rescan()
    watcher.rescan()
    assert told.events[3:] == [("release", f"{job_dir}/run", "succeeded")]
    assert watcher.active() == []


@pytest.mark.parametrize(
    ("marker", "reason"), [("FAILURE", "failed"), ("ABORTED", "aborted"), ("SUCCESS", "succeeded")]
)
def test_every_end_releases_once(
    watcher: RefinementWatcher, told: Told, job_dir: Path, marker: str, reason: str
) -> None:
    write_iteration(job_dir, 0)
    watcher.rescan()
    (job_dir / f"RELION_JOB_EXIT_{marker}").touch()
    watcher.rescan()
    watcher.rescan()
    assert told.events[1:] == [("release", f"{job_dir}/run", reason)]


def test_the_final_map_is_an_end_too(watcher: RefinementWatcher, told: Told, job_dir: Path) -> None:
    write_iteration(job_dir, 4)
    watcher.rescan()
    (job_dir / "run_class001.mrc").touch()
    watcher.rescan()
    assert told.events[1:] == [("release", f"{job_dir}/run", "succeeded")]


def test_a_job_that_was_continued_is_prepared_again(watcher: RefinementWatcher, told: Told, job_dir: Path) -> None:
    write_iteration(job_dir, 5)
    (job_dir / "run_class001.mrc").touch()
    (job_dir / "RELION_JOB_EXIT_SUCCESS").touch()
    watcher.rescan()
    assert told.events == []
    (job_dir / "RELION_JOB_EXIT_SUCCESS").unlink()
    os.utime(job_dir / "run_class001.mrc", (1, 1))
    write_iteration(job_dir, 6, options="--continue x --external_reconstruct")
    watcher.rescan()
    assert told.events == [("prepare", f"{job_dir}/run", 6)]


def test_a_continuation_without_the_option_is_released(watcher: RefinementWatcher, told: Told, job_dir: Path) -> None:
    write_iteration(job_dir, 0)
    watcher.rescan()
    write_iteration(job_dir, 1, options="--continue x", external=False)
    watcher.rescan()
    assert told.events[1:] == [("release", f"{job_dir}/run", "continued without --external_reconstruct")]


def test_a_folder_that_is_removed_is_released(watcher: RefinementWatcher, told: Told, job_dir: Path) -> None:
    optimiser = write_iteration(job_dir, 0)
    watcher.rescan()
    optimiser.unlink()
    watcher.rescan()
    assert told.events[1:] == [("release", f"{job_dir}/run", "removed")]


def test_refinements_of_others_are_left_alone(watcher: RefinementWatcher, told: Told, job_dir: Path) -> None:
    write_iteration(job_dir, 0, root="plain", options="", external=False)
    write_iteration(job_dir, 0, root="blush", options="--external_reconstruct --blush")
    watcher.rescan()
    assert told.events == []


def test_old_folders_are_not_announced_at_start(tmp_path: Path, told: Told, job_dir: Path) -> None:
    write_iteration(job_dir, 12)
    later = time.time() + STALE_AFTER_S + 60
    watcher = RefinementWatcher([tmp_path], told, clock=lambda: later)
    watcher.rescan()
    assert told.events == []


def test_a_refinement_that_went_silent_for_days_is_released(tmp_path: Path, told: Told, job_dir: Path) -> None:
    write_iteration(job_dir, 12)
    now = [time.time()]
    watcher = RefinementWatcher([tmp_path], told, clock=lambda: now[0])
    watcher.rescan()
    now[0] += STALE_AFTER_S + 60
    watcher.rescan()
    assert told.events[1:] == [("release", f"{job_dir}/run", "stale")]


def test_a_file_that_is_still_written_is_announced_when_it_is_whole(
    watcher: RefinementWatcher, told: Told, job_dir: Path
) -> None:
    optimiser = write_iteration(job_dir, 0)
    whole = optimiser.read_text()
    optimiser.write_text(whole[:100])
    watcher.rescan()
    assert told.events == []
    optimiser.write_text(whole)
    watcher.rescan()
    assert told.events == [("prepare", f"{job_dir}/run", 0)]


def test_a_refinement_is_announced_with_its_box_though_the_model_comes_later(
    tmp_path: Path, told: Told, job_dir: Path
) -> None:
    """RELION writes the model files after the optimiser file."""
    now = [time.time()]
    watcher = RefinementWatcher([tmp_path], told, clock=lambda: now[0])
    write_iteration(job_dir, 0)
    model = job_dir / "run_it000_half1_model.star"
    text = model.read_text()
    model.unlink()
    watcher.rescan()
    assert told.events == []
    model.write_text(text)
    watcher.rescan()
    assert told.prepared[0]["box"] == 64
    write_iteration(job_dir, 0, root="odd")
    (job_dir / "odd_it000_half1_model.star").unlink()
    now[0] += MODEL_WAIT_S + 1
    watcher.rescan()
    assert told.prepared[1]["box"] is None


def test_several_roots_in_one_folder_are_separate(watcher: RefinementWatcher, told: Told, job_dir: Path) -> None:
    write_iteration(job_dir, 0, root="run")
    write_iteration(job_dir, 6, root="run_ct5")
    watcher.rescan()
    assert sorted(told.events) == [("prepare", f"{job_dir}/run", 0), ("prepare", f"{job_dir}/run_ct5", 6)]


def test_a_mask_outside_the_roots_is_not_opened_to_the_daemon(tmp_path: Path, told: Told) -> None:
    job_dir = project(tmp_path / "roots" / "project")
    (tmp_path / "secret").write_text("not for the daemon")
    write_iteration(job_dir, 0, mask=str(tmp_path / "secret"))
    RefinementWatcher([tmp_path / "roots"], told).rescan()
    assert told.prepared[0]["mask"] is None


def test_the_thread_sees_a_refinement_and_a_job_file_and_stops(tmp_path: Path, told: Told) -> None:
    job_dir = project(tmp_path / "project")
    for name in ("a.mrc", "b.mrc"):
        (tmp_path / name).write_bytes(name.encode())
    thread = WatchThread(told, [tmp_path / "project"], tmp_path / "inbox", rescan_s=0.2)
    thread.start()
    try:
        write_iteration(job_dir, 0)
        wait_until(lambda: bool(told.events))
        (tmp_path / "inbox" / "job.yaml").write_text(
            f"schema: cryobridge/job/1\nkind: map.fsc3d\noutput: {tmp_path}/out\n"
            f"inputs: {{half1: {tmp_path}/a.mrc, half2: {tmp_path}/b.mrc}}\n"
        )
        wait_until(lambda: bool(told.jobs))
    finally:
        thread.stop()
    assert not thread.is_alive()
    assert told.events == [("prepare", f"{job_dir}/run", 0)]


def test_an_error_of_the_daemon_does_not_end_the_watch(
    tmp_path: Path, told: Told, job_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fail_once(refinement: Mapping[str, Any]) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("once")

    monkeypatch.setattr(told, "prepare", fail_once)
    write_iteration(job_dir, 0)
    thread = WatchThread(told, [tmp_path], rescan_s=0.05)
    thread.start()
    try:
        write_iteration(job_dir, 0, root="other")
        wait_until(lambda: len(calls) >= 2)
    finally:
        thread.stop()


@pytest.mark.parametrize(
    "error", [OSError(24, "inotify instance limit reached"), RuntimeError("can't start new thread")]
)
def test_without_file_events_folders_are_still_looked_at(
    tmp_path: Path, told: Told, job_dir: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A user may have 128 listeners for events on all of a machine."""

    def none_left() -> None:
        raise error

    monkeypatch.setattr(watch_thread, "Observer", none_left)
    thread = WatchThread(told, [tmp_path], rescan_s=0.05)
    thread.start()
    try:
        write_iteration(job_dir, 0)
        wait_until(lambda: bool(told.events))
    finally:
        thread.stop()
    assert not thread.is_alive()


def wait_until(condition: Any, timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
