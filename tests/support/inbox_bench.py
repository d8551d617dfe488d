"""An inbox with the daemon's queue and the clock in the hand of the test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryobridge.bridge.watch.inbox import STABLE_S, Inbox
from cryobridge.schemas.errors import CryobridgeError

JOB = "schema: cryobridge/job/1\nkind: map.fsc3d\ninputs: {half1: ../a.mrc, half2: ../b.mrc}\noutput: ../out\n"


class Store:
    """The daemon's queue: survives the inbox, as the database survives the daemon."""

    def __init__(self) -> None:
        self.specs: list[Mapping[str, Any]] = []
        self.reports: dict[str, dict[str, Any]] = {}
        self.refuse: CryobridgeError | None = None

    def submit(self, spec: Mapping[str, Any]) -> str:
        if self.refuse:
            raise self.refuse
        self.specs.append(spec)
        job_id = str(len(self.specs))
        self.reports[job_id] = {"state": "queued"}
        return job_id

    def find(self, request_id: str) -> str | None:
        for number, spec in enumerate(self.specs, 1):
            if spec["run"]["request_id"] == request_id:
                return str(number)
        return None

    def state(self, job_id: str) -> Mapping[str, Any] | None:
        return self.reports.get(job_id)


class Bench:
    """An inbox with a clock in the hand of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "inbox"
        self.folder.mkdir(mode=0o700, parents=True)
        self.store = Store()
        self.now = 0.0
        self.restart()
        for name in ("a.mrc", "b.mrc"):
            (folder / name).write_bytes(name.encode())

    def restart(self) -> None:
        """Begin anew with what is on disk, as a daemon does after its death."""
        self.inbox = Inbox(self.folder, self.store, clock=lambda: self.now)

    def rescan(self, times: int = 1) -> None:
        for _ in range(times):
            self.inbox.rescan()
            self.now += STABLE_S

    def drop(self, text: str = JOB, name: str = "scan.yaml") -> None:
        (self.folder / name).write_text(text)

    def answer(self, ending: str = ".error.txt", stem: str = "scan") -> str:
        return (self.folder / f"{stem}{ending}").read_text()

    def names(self) -> set[str]:
        return {name for name in os.listdir(self.folder) if name not in ("claimed", "done")}
