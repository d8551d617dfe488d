"""A running job leaves the device to a call of RELION, and ends as if the call had not been. The device is played."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.correction_job import correction_job, finish
from support.device_budget import DeviceBudget

from cryobridge.bridge.worker.loop import WorkerLoop
from cryobridge.bridge.worker.service import Service
from cryobridge.core.training import Parking
from cryobridge.schemas.wire import Channel, Message
from cryobridge.schemas.worker_messages import CancelTask, HalfTask, JobTask, StandardMade, StopWorker, WorkerReady

pytestmark = pytest.mark.slow

BUDGET_BYTES = 40_000_000
STEPS = 12
HALF = HalfTask(task="half", session="/a/run", iteration=1, half=1, number=1, kind="class", environment={}, fd_names=())


class Worker:
    """A worker's loop in a thread, on a device of some bytes, whose calls take as many of them as they are told."""

    def __init__(self, call_bytes: int, parks: bool = True) -> None:
        self.device = DeviceBudget(BUDGET_BYTES)
        service = Service(torch.device("cpu"), self.device)
        self.parking = service.parking
        self.device.watch(self.parking)
        self.parked_bytes: list[int] = []
        self.call_bytes = call_bytes
        self.took: list[torch.Tensor] = []
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        space: Any = self.parking if parks else _NeverParks()
        loop = WorkerLoop(Channel(theirs), {**service.handlers(), "half": self._half}, space)
        self._thread = threading.Thread(
            target=loop.run, args=(WorkerReady(device="played", device_name="played"),), daemon=True
        )
        self._thread.start()

    def _half(self, frame: HalfTask, _fds: list[int]) -> Iterator[Any]:
        self.parked_bytes.append(self.device.parked_bytes)
        call = torch.empty(self.call_bytes, dtype=torch.uint8)
        self.device.take([call])
        self.took.append(call)
        yield None
        return StandardMade(task=frame.task, half=1, size=1, crc32=1, due=False)

    def send(self, frame: Any) -> None:
        self.channel.send(frame.as_message())

    def until(self, type_: str, text: str = "") -> Message:
        """The next frame of a type whose text holds some words."""
        while True:
            message = self.channel.receive(60).message
            if message["type"] == type_ and text in str(message.get("text", "")):
                return message

    def end(self) -> None:
        self.send(StopWorker())
        self._thread.join(20)
        assert not self._thread.is_alive()


class _NeverParks:
    def park(self) -> None:
        """Leave everything where it is."""

    def unpark(self) -> None:
        """There is nothing to bring back."""

    def abandon(self) -> None:
        """There is nothing to let go."""


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cryobridge.bridge.worker.loop.PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr("cryobridge.bridge.worker.loop.ROOM_PAUSE_S", 0.05)
    monkeypatch.setattr("cryobridge.bridge.worker.kinds.map.correct.job.page", lambda _: "")


def test_a_call_has_the_whole_device_and_the_job_ends_with_equal_weights(tmp_path: Path) -> None:
    undisturbed = finish(correction_job(tmp_path, name="undisturbed", steps=STEPS))
    worker = Worker(call_bytes=BUDGET_BYTES)
    worker.send(JobTask(task="job", spec=correction_job(tmp_path, steps=STEPS)))
    for word in ("training 2/", "training 7/", "predicting half-map 2"):
        worker.until("progress", word)
        worker.send(HALF)
        worker.until("standard")
        worker.device.drop(worker.took.pop())
    done = worker.until("done")["result"]
    worker.end()
    names = ("network.safetensors", "corrected_half1.mrc", "corrected_half2.mrc", "loss.csv")
    assert [done["outputs"][name]["sha256"] for name in names] == [
        undisturbed["outputs"][name]["sha256"] for name in names
    ]
    # Ten maps of the pair, the weights four times (their averages and both moments), and more.
    weights = (tmp_path / "out/network.safetensors").stat().st_size // 2
    assert min(worker.parked_bytes) > 10 * 4 * 24**3 + 3 * weights
    assert worker.device.parked_bytes == 0


def test_without_parking_the_call_would_not_have_fitted(tmp_path: Path) -> None:
    """The control: it is the parking that makes room."""
    worker = Worker(call_bytes=BUDGET_BYTES, parks=False)
    worker.send(JobTask(task="job", spec=correction_job(tmp_path, steps=STEPS)))
    worker.until("progress", "training 2/")
    worker.send(HALF)
    assert worker.until("failed")["code"] == "oom"
    worker.end()


def test_a_job_waits_on_the_host_while_another_program_keeps_the_device(tmp_path: Path) -> None:
    worker = Worker(call_bytes=BUDGET_BYTES)
    worker.send(JobTask(task="job", spec=correction_job(tmp_path, steps=STEPS)))
    worker.until("progress", "training 2/")
    worker.send(HALF)
    worker.until("standard")
    worker.until("progress", "waiting for room on the device")
    worker.until("progress", "waiting for room on the device")
    worker.device.drop(worker.took.pop())
    assert worker.until("done")["result"]["metrics"]["steps"] == STEPS
    worker.end()


def test_a_job_that_waits_for_room_can_be_cancelled(tmp_path: Path) -> None:
    worker = Worker(call_bytes=BUDGET_BYTES)
    worker.send(JobTask(task="job", spec=correction_job(tmp_path, steps=STEPS)))
    worker.until("progress", "training 2/")
    worker.send(HALF)
    worker.until("progress", "waiting for room on the device")
    worker.send(CancelTask(task="job"))
    assert worker.until("failed")["code"] == "cancelled"
    worker.end()


def test_what_cannot_be_moved_away_costs_neither_the_call_nor_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = finish(correction_job(tmp_path, name="undisturbed", steps=STEPS))
    worker = Worker(call_bytes=1000)
    to_host, moved = worker.device.to_host, []

    def full_after_three(tensor: torch.Tensor) -> bool:
        if len(moved) == 3:
            raise RuntimeError("no pinned memory")
        moved.append(tensor)
        return to_host(tensor)

    monkeypatch.setattr(worker.device, "to_host", full_after_three)
    worker.send(JobTask(task="job", spec=correction_job(tmp_path, steps=STEPS)))
    worker.until("progress", "training 2/")
    worker.send(HALF)
    worker.until("standard")
    done = worker.until("done")["result"]
    worker.end()
    assert worker.parked_bytes[0] > 0
    name = "network.safetensors"
    assert done["outputs"][name]["sha256"] == undisturbed["outputs"][name]["sha256"]


def test_a_job_that_cannot_be_brought_back_fails_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(call_bytes=1000)

    def broken(_: torch.Tensor) -> None:
        raise RuntimeError("the device has fallen off the bus")

    monkeypatch.setattr(worker.device, "to_device", broken)
    worker.send(JobTask(task="job", spec=correction_job(tmp_path, steps=STEPS)))
    worker.until("progress", "training 2/")
    worker.send(HALF)
    worker.until("standard")
    assert "fallen off the bus" in worker.until("failed")["text"]
    worker.end()
    with pytest.raises(IndexError):
        worker.parking.unpark()


def test_a_parking_of_its_own_is_made_for_a_job_that_is_run_alone(tmp_path: Path) -> None:
    assert isinstance(Service(torch.device("cpu")).parking, Parking)
    assert finish(correction_job(tmp_path))["metrics"]["steps"] == 2
