"""The worker's loop: urgency, progress, cancelling, and errors that end a task but not the worker."""

import importlib
import os
import socket
import threading

import pytest
import torch

from cryobridge.bridge.worker.loop import FrameQueue, Progress, Received, WorkerLoop
from cryobridge.bridge.worker.soundness import EXIT_UNSOUND
from cryobridge.core.training import DeviceMover, Parking
from cryobridge.schemas.errors import BadResult
from cryobridge.schemas.wire import Channel, Frame
from cryobridge.schemas.worker_messages import (
    CorrectTask,
    HalfTask,
    JobDone,
    JobTask,
    StandardMade,
    WorkerReady,
)

ASKED = {
    "job": {"job_id": "1", "spec": {}},
    "correct": {"half1": "1", "half2": "2"},
    "half": {"session": "/a/run", "iteration": 1, "half": 1, "number": 1, "kind": "class", "fd_names": ()},
}
"""What a task asks for besides its name."""


def received(kind, task=""):
    asked = {one.type: one for one in (JobTask, CorrectTask, HalfTask)}[kind](task=task, **ASKED[kind])
    return Received(asked, Frame(asked.as_message()))


def asking(kind, task):
    return received(kind, task).frame.as_message()


def test_the_inbox_hands_out_the_most_urgent_first_and_keeps_order_within():
    inbox = FrameQueue()
    for kind, task in (("job", "a"), ("correct", "b"), ("half", "c"), ("half", "d")):
        inbox.put(received(kind, task))
    assert [inbox.take().task for _ in range(4)] == ["c", "d", "b", "a"]
    assert inbox.take(wait=False) is None


def test_only_what_is_more_urgent_interrupts():
    inbox = FrameQueue()
    inbox.put(received("correct", "b"))
    assert inbox.take(below=2, wait=False) is None
    assert inbox.take(below=3, wait=False).task == "b"


@pytest.fixture
def daemon():
    """The daemon's end of a loop whose handlers are given by each test."""
    ends = []

    def start(**handlers):
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        loop = WorkerLoop(Channel(theirs), handlers, Parking(DeviceMover(torch.device("cpu"))))
        thread = threading.Thread(target=loop.run, args=(WorkerReady(device="none", device_name="none"),), daemon=True)
        thread.start()
        ends.append((channel, thread))
        assert channel.receive(5).type == "ready"
        return channel

    yield start
    for channel, thread in ends:
        channel.send({"type": "stop"})
        thread.join(5)
        assert not thread.is_alive()


def receive(channel):
    while (got := channel.receive(10)).type == "heartbeat":
        pass
    return got.message


def test_a_call_is_served_between_two_steps_of_a_job(daemon):
    begun, go_on = threading.Event(), threading.Event()

    def job(asked, _):
        begun.set()
        go_on.wait(5)
        yield None
        yield None
        return JobDone(task=asked.task, result={})

    def half(asked, _):
        yield None
        return StandardMade(task=asked.task, half=1, size=1, crc32=1, due=True)

    channel = daemon(job=job, half=half)
    channel.send(asking("job", "long"))
    assert begun.wait(5)
    channel.send(asking("half", "urgent"))
    # The frame has to be queued before the job's first step ends; the reader needs a moment.
    threading.Timer(0.3, go_on.set).start()
    assert [receive(channel)["task"] for _ in range(2)] == ["urgent", "long"]


def test_cancelling_ends_a_task_between_steps_and_closes_its_work(daemon):
    closed = threading.Event()

    def job(_asked, _fds):
        try:
            yield Progress("begun")
            while True:
                yield None
        finally:
            closed.set()

    channel = daemon(job=job)
    channel.send(asking("job", "endless"))
    assert receive(channel)["text"] == "begun"
    channel.send({"type": "cancel", "task": "endless"})
    assert receive(channel)["code"] == "cancelled"
    assert closed.wait(1)


def test_a_task_cancelled_before_it_began_is_answered_at_once_and_never_begun(daemon):
    begun, go_on = threading.Event(), threading.Event()
    done = []

    def job(asked, _fds):
        done.append(asked.task)
        begun.set()
        go_on.wait(10)
        yield None
        return JobDone(task=asked.task, result={})

    channel = daemon(job=job)
    channel.send(asking("job", "long"))
    assert begun.wait(5)
    channel.send(asking("job", "behind"))
    channel.send({"type": "cancel", "task": "behind"})
    answer = receive(channel)
    assert (answer["task"], answer["code"]) == ("behind", "cancelled")
    go_on.set()
    assert receive(channel)["task"] == "long"
    channel.send(asking("job", "behind"))
    assert receive(channel)["type"] == "done"
    assert done == ["long", "behind"]


def test_an_error_fails_its_task_with_a_code_and_the_next_is_served(daemon):
    def job(asked, _):
        yield Progress("begun")
        if asked.task == "bad":
            raise BadResult("not finite")
        if asked.task == "worse":
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 1 bytes")
        return JobDone(task=asked.task, result={})

    channel = daemon(job=job)
    codes = {}
    for task in ("bad", "worse", "good"):
        channel.send(asking("job", task))
        assert receive(channel)["text"] == "begun"
        answer = receive(channel)
        codes[task] = answer.get("code", answer["type"])
    assert codes == {"bad": "bad_result", "worse": "oom", "good": "done"}


def test_a_task_that_leaves_a_module_half_loaded_is_the_last_one(tmp_path, monkeypatch):
    (tmp_path / "half_loaded_by_a_task.py").write_text("begun = True\nraise MemoryError('no room')\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def job(asked, _):
        yield Progress("begun")
        importlib.import_module("half_loaded_by_a_task")
        return JobDone(task=asked.task, result={})

    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    loop = WorkerLoop(Channel(theirs), {"job": job}, Parking(DeviceMover(torch.device("cpu"))))
    for task in ("a", "b"):
        channel.send(asking("job", task))
    with pytest.raises(SystemExit) as ended:
        loop.run(WorkerReady(device="none", device_name="none"))
    assert ended.value.code == EXIT_UNSOUND
    told = [receive(channel) for _ in range(3)]
    assert [one["type"] for one in told] == ["ready", "progress", "failed"]
    assert (told[-1]["task"], told[-1]["code"]) == ("a", "oom")
    with pytest.raises(TimeoutError):
        channel.receive(0.2)


def test_a_task_that_cannot_be_read_fails_and_unknown_frames_are_passed_over(daemon):
    def job(asked, _):
        yield None
        return JobDone(task=asked.task, result={})

    channel = daemon(job=job)
    channel.send({"type": "of the future", "task": "x"})
    channel.send({"type": "cancel", "task": 7})
    channel.send({"type": "job", "task": "bad", "spec": "none"})
    channel.send(asking("job", "good"))
    failed = receive(channel)
    assert (failed["type"], failed["task"], failed["code"]) == ("failed", "bad", "input_invalid")
    assert "job: 'spec' must be an object" in failed["text"]
    assert (receive(channel)["task"]) == "good"


def test_descriptors_come_with_their_frame_and_are_closed_with_it(daemon):
    seen = []

    def half(asked, fds):
        seen.extend(os.write(fd, b"here") for fd in fds)
        yield None
        return StandardMade(task=asked.task, half=1, size=1, crc32=1, due=False)

    channel = daemon(half=half)
    reading, writing = os.pipe()
    channel.send({**asking("half", "a"), "fd_names": ["mask"]}, [writing])
    os.close(writing)
    assert receive(channel)["task"] == "a"
    assert seen == [4]
    with open(reading, "rb") as pipe:
        # It ends only when nobody can write to it any more.
        assert pipe.read() == b"here"
