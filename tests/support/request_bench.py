"""Requests, jobs and sessions of a daemon without processes or sockets, for tests of who is answered what."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryobridge.bridge.daemon.feed import Feed, ToldLedger
from cryobridge.bridge.daemon.health import Health
from cryobridge.bridge.daemon.news import News
from cryobridge.bridge.daemon.requests import RequestHandler
from cryobridge.bridge.daemon.rights import Rights
from cryobridge.bridge.daemon.views import DaemonViews
from cryobridge.bridge.queue.store import Store
from cryobridge.bridge.queue.submitted import JobQueue
from cryobridge.bridge.refinements.ledger import Books
from cryobridge.bridge.refinements.pairing import Sessions
from cryobridge.schemas.config import Deadlines, Limits
from cryobridge.schemas.frames import TypedFrame

from .fake_pool import Clock, FakePool

ME = os.getuid()
STRANGER = 54321
FRIEND = 54322


class NotingAsker:
    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.unsent_bytes = 0
        self.sent: list[dict[str, Any]] = []

    def send(self, frame: TypedFrame) -> None:
        self.sent.append(frame.as_message())


class RequestBench:
    def __init__(self, folder: Path, operators: Sequence[str] = (), **limits: int) -> None:
        self.folder = folder
        self.clock = Clock()
        self.pool = FakePool()
        self.store = Store(folder / "jobs.sqlite")
        self.books = Books(self.store)
        rights = self.rights = Rights(operators)
        self.news = News(rights, self.clock)
        ledger = ToldLedger(self.books, self.news, self.clock)
        self.sessions = Sessions(self.pool, ledger, Deadlines(), self.clock, find=lambda pid: None)
        self.jobs = JobQueue(self.store, self.pool, Limits(**limits), self.clock, ["cpu"])
        self.done: list[str] = []
        loop = asyncio.new_event_loop()
        loop.time = self.clock  # type: ignore[method-assign]
        self.health = Health(True, True, False)
        feed = self.feed = Feed(self.news, self.store, self.jobs, self.sessions, self.status, lambda: self.health)
        feed.start()
        counts, settings = feed.counts, {"socket": {"value": "/run/secret", "origin": "default"}}
        views = DaemonViews(
            self.news, rights, self.sessions, counts, self.status, lambda: self.health, lambda: "up 1\n", settings
        )
        self.requests = RequestHandler(
            loop,
            self.store,
            self.jobs,
            self.sessions,
            rights,
            views,
            *(lambda deed=deed: self.done.append(deed) or deed for deed in ("drain", "resume", "stop")),
        )
        self.loop = loop

    def status(self) -> dict[str, Any]:
        worker = {
            **dict.fromkeys(("name", "device", "device_name"), "x"),
            "state": "ready",
            "pid": 7,
            "rss_bytes": 1,
            "tasks": ["job-secret"],
            "last_error": "secret.mrc: no",
        }
        return {"state": "ready", "version": "1", "uptime_s": 5.0, "socket": "/run/secret", "workers": [worker]}

    def submit_as(self, uid: int, spec: dict[str, Any]) -> dict[str, Any]:
        """Submit as if the daemon were that user's own: it takes no other's jobs, and yet may hold some."""
        mine, self.jobs._own_uid = self.jobs._own_uid, uid
        try:
            return self.ask(uid, "submit", spec=spec)
        finally:
            self.jobs._own_uid = mine

    def ask(self, uid: int, kind: str, /, **fields: Any) -> dict[str, Any]:
        asker = NotingAsker(uid)
        self.requests.handle(asker, {"type": kind, **fields})
        return asker.sent[-1] if asker.sent else {}

    def spec(self, place: str = "open", **run: Any) -> dict[str, Any]:
        folder = self.folder / place
        folder.mkdir(exist_ok=True)
        return {
            "schema": "cryobridge/job/1",
            "kind": "map.fsc3d",
            "inputs": {"half1": f"{folder}/a.mrc", "half2": f"{folder}/b.mrc"},
            "output": f"{folder}/out",
            "run": run,
        }

    def job_task(self):
        return self.pool.only("job")
