"""Between the watcher's thread and the loop: answers and errors come back, names are those that calls will use."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from cryobridge.bridge.watch.announce import Watching
from cryobridge.schemas.config import DaemonConfig
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.state import JobState
from cryobridge.schemas.worker_messages import PrepareSession


class Parts:
    """Sessions, jobs and store in one, remembering on which thread they were called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.threads: set[int] = set()

    def _note(self, name: str, value: Any) -> None:

        self.calls.append((name, value))
        self.threads.add(threading.get_ident())

    def prepare(self, frame: PrepareSession, uid: int) -> None:
        self._note("prepare", (frame, uid))

    def progress(self, session: str, iteration: int) -> None:
        self._note("progress", (session, iteration))

    def release(self, session: str) -> bool:
        self._note("release", session)
        return True

    def submit(self, spec: dict, uid: int) -> Any:
        self._note("submit", (spec, uid))
        if not spec:
            raise JobRejected("the queue is full")
        return type("Job", (), {"id": "j1"})

    def find_request(self, request_id: str, uid: int) -> Any:
        self._note("find", (request_id, uid))
        return None

    def get(self, job_id: str) -> Any:
        self._note("get", job_id)
        return type("Job", (), {"state": JobState.FAILED, "reason": "oom", "text": "no memory"})


def run(question) -> tuple[Any, Parts, int]:
    parts = Parts()

    async def main() -> Any:
        watching = Watching(asyncio.get_running_loop(), DaemonConfig(), parts, parts, parts)
        try:
            return await asyncio.to_thread(question, watching)
        finally:
            await asyncio.sleep(0)

    return asyncio.run(main()), parts, threading.get_ident()


def test_questions_are_answered_on_the_loops_thread() -> None:
    def question(watching: Watching) -> Any:
        return watching.submit({"kind": "x"}), watching.find("r1"), watching.state("j1")

    answers, parts, loop_thread = run(question)
    assert answers == ("j1", None, {"state": "failed", "reason": "oom", "text": "no memory"})
    assert parts.threads == {loop_thread}
    assert parts.calls[0] == ("submit", ({"kind": "x"}, os.getuid()))


def test_a_refusal_is_raised_where_it_was_asked() -> None:
    with pytest.raises(JobRejected, match="full"):
        run(lambda watching: watching.submit({}))


def test_a_watched_refinement_has_the_name_that_its_owners_calls_will_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryobridge.bridge.refinements.call.os.getuid", lambda: 99999)
    session = f"{tmp_path}/run"
    owner = tmp_path.stat().st_uid

    def question(watching: Watching) -> None:
        watching.prepare({"type": "prepare", "session": session, "box": 64})
        watching.progress(session, 3)
        watching.release(session, "succeeded")

    _, parts, _ = run(question)
    name = f"{owner}:{session}"
    assert parts.calls == [
        ("prepare", (PrepareSession(session=name, box=64), owner)),
        ("progress", (name, 3)),
        ("release", name),
    ]


def test_a_watcher_that_speaks_after_the_end_does_no_harm() -> None:
    kept: list[Watching] = []
    run(kept.append)
    kept[0].release("/a/run", "removed")
