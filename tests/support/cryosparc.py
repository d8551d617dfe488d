"""A CryoSPARC for tests: the stand-in of the shared folder, spoken to by the client from PyPI; a daemon beside it."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cryobridge.schemas.errors import DaemonUnavailable
from cryobridge.wrappers.cryosparc.card.card_run import CardSurroundings
from cryobridge.wrappers.cryosparc.card.memory import Memory
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.patience import CardPatience

from .computed_once import result_of

EMAIL, PASSWORD = "bridge@example.org", "secret"
QUICK = CardPatience(server_s=20.0, login_s=20.0, trouble_s=0.1, daemon_s=5.0, pause_s=0.01, longest_pause_s=0.05)


class Standin:
    """A server over a private copy of the sample projects."""

    def __init__(self, shared: Path, folder: Path, projects: int = 1, version: str = "v5.0.3") -> None:
        pytest.importorskip("cryosparc.tools", reason="cryosparc-tools are not installed (extra 'cryosparc')")
        sys.path.insert(0, str(shared / "cryosparc-standin"))
        try:
            module = importlib.import_module("standin")
        finally:
            sys.path.pop(0)
        self.folder = folder / "projects"
        sample = shared / "cryosparc-standin" / "sample" / "CS-bridge-demo"
        for number in range(1, projects + 1):
            place = self.folder / f"CS-{number}"
            shutil.copytree(sample, place)
            _renamed(place, f"P{number}", number)
        self._server, self.url = module.serve(self.folder, email=EMAIL, password=PASSWORD, version=version)
        self.state = self._server.state

    def close(self) -> None:
        """End it; nobody is let in from here on, and its thread ends within half a second, which is not waited for."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()
        self._server.server_close()

    def project(self, number: int = 1) -> Path:
        """Folder of a project."""
        return self.folder / f"CS-{number}"

    def fault(self, operation: str, **how: Any) -> None:
        """Have the next call of an operation fail: `status`, `delay`, `drop` ("before" or "after"), `times`."""
        raw = json.dumps({"op": operation, **how}).encode()
        request = urllib.request.Request(f"{self.url}/api/cmd/_standin/fault", data=raw, method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def job(self, card: CardId) -> Any:
        """A job as the server has it."""
        return self.state.jobs[card.project, card.job]

    def log_of(self, card: CardId) -> list[Any]:
        """The events of a job."""
        return list(self.state.events.get((card.project, card.job), []))

    def said(self, card: CardId) -> str:
        """All text of a job's log."""
        return "\n".join(event.text for event in self.log_of(card) if getattr(event, "text", None))


def _renamed(project: Path, uid: str, number: int) -> None:
    """Give a copy of the sample project another id."""
    for path in (project / "project.json", project / "workspaces.json", *project.glob("J*/job.json")):
        text = path.read_text()
        text = text.replace('"project_uid": "P1"', f'"project_uid": "{uid}"').replace(
            '"project_uid":"P1"', f'"project_uid":"{uid}"'
        )
        if path.name == "project.json":
            values = json.loads(text)
            values |= {"uid": uid, "uid_num": number}
            text = json.dumps(values)
        path.write_text(text)


@dataclass
class DirectDaemon:
    """Does each job at once, in the thread that asks; knows a request again by its name, as the real one does.

    Attributes
    ----------
    away
        So many calls fail as if no daemon were there.
    slices
        So many waits pass before a job ends.
    between
        Called at each wait for a job, with the number of the wait from 1 on: what happens while it runs.
    """

    away: int = 0
    slices: int = 0
    between: Callable[[int], None] = field(default=lambda _: None)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def submit(self, spec: dict[str, Any]) -> str:
        self._answer()
        name = str(spec["run"]["request_id"])
        with self.lock:
            self.jobs.setdefault(name, {"spec": spec, "waits": 0, "end": None})
        return name

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        self._answer()
        job = self.jobs[job_id]
        self.between(job["waits"] + 1)
        job["waits"] += 1
        on_progress("at work", job["waits"] / (self.slices + 1))
        if job_id in self.cancelled:
            return JobEnd("cancelled", "cancelled", "cancelled on request")
        if job["waits"] <= self.slices:
            return None
        with self.lock:
            if job["end"] is None:
                job["end"] = result_of(job["spec"])
        end: JobEnd = job["end"]
        return end

    def cancel(self, job_id: str) -> None:
        self._answer()
        self.cancelled.append(job_id)

    def _answer(self) -> None:
        if self.away > 0:
            self.away -= 1
            raise DaemonUnavailable("no daemon is running; start one with 'cryobridge serve'")


def surroundings(server: Any, daemon: Any, folder: Path, **changes: Any) -> CardSurroundings:
    """What a card has around it, with short patience."""
    memory = Memory(folder)
    return CardSurroundings(server, daemon, memory, QUICK, changes.pop("status_of", lambda _: None), **changes)
