"""Kills daemon and workers, one after the other, at instants and with targets that the seed gives."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.requests import AskStatus

from .journal import Journal, Killed, NotReady, Ready
from .place import Place

LOOK_S = 30.0
"""So long a daemon is waited for after a kill."""
WORKER_S = {False: 4.0, True: 20.0}
"""So long a new worker is waited for, a quick or a real one; then the next kill comes, whether there is one or not."""
PAUSE_S = {False: 0.6, True: 8.0}
HURRY_SHARE = 0.25
"""Kills that do not wait until there is a worker, and may come in the first instants after a start."""
WORKER_SHARE, TWICE_SHARE = 0.35, 0.15
STARTS_S = 0.8
_TICKS = os.sysconf("SC_CLK_TCK")


class Disturbing:
    """Kills; each is counted, and after each it is looked when the daemon greets as ready."""

    def __init__(self, place: Place, journal: Journal, dice: random.Random) -> None:
        self._place = place
        self._journal = journal
        self._dice = dice
        self._number = 0

    def kill(self, count: int) -> None:
        """So many, all together."""
        while self._number < count:
            if self._dice.random() < HURRY_SHARE:
                time.sleep(self._dice.uniform(0, STARTS_S))
            else:
                self._await_worker()
                time.sleep(self._dice.uniform(0, PAUSE_S[self._place.real]))
            draw = self._dice.random()
            if draw < WORKER_SHARE:
                self._kill_worker()
            elif draw < WORKER_SHARE + TWICE_SHARE and self._number + 1 < count:
                self._kill_daemon("daemon")
                time.sleep(self._dice.uniform(0, STARTS_S))
                self._look(self._kill_daemon("daemon as it starts"))
            else:
                self._look(self._kill_daemon("daemon"))

    def _kill_daemon(self, target: str) -> tuple[int, float, int]:
        while (pid := self._supervised()) is None:
            time.sleep(0.005)
        began = time.monotonic()
        self._note(target, pid)
        return self._number, began, pid

    def _supervised(self) -> int | None:
        return self._place.supervisor.kill() if self._place.supervisor is not None else None

    def _note(self, target: str, pid: int) -> None:
        self._number += 1
        self._journal.add(Killed(self._journal.now_s, self._number, target, pid))

    def _look(self, killed: tuple[int, float, int], what: str = "daemon") -> None:
        """Greet until a daemon that is not the killed one says that it is ready."""
        number, began, pid = killed
        while time.monotonic() - began < LOOK_S:
            with contextlib.suppress(CryobridgeError, OSError), self._place.client(LOOK_S) as client:
                if client.welcome.state == "ready" and client.welcome.pid not in (None, pid):
                    self._ready(number, what, began, processor_s(client.welcome.pid))
                    return
            time.sleep(0.005)
        self._journal.add(NotReady(self._journal.now_s, number, time.monotonic() - began))

    def _ready(self, number: int, what: str, began: float, cpu_s: float) -> None:
        seconds = round(time.monotonic() - began, 4)
        load = round(os.getloadavg()[0], 2)
        self._journal.add(Ready(self._journal.now_s, number, what, seconds, cpu_s, load))

    def _kill_worker(self) -> None:
        pid = next((pid for pid in self._workers() if pid), None)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        self._note("worker", pid)
        number = self._number
        # The daemon goes on, and says so.
        self._look((number, began, pid))
        if self._await_worker(pid):
            self._ready(number, "worker", began, 0.0)

    def _await_worker(self, killed: int = 0) -> bool:
        """Wait until a worker that is not the killed one is ready; false where that takes too long."""
        end = time.monotonic() + WORKER_S[self._place.real]
        while not self._workers(ready=True) - {killed}:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _workers(self, *, ready: bool = False) -> set[int]:
        try:
            with self._place.client() as client:
                workers = client.request(AskStatus())["workers"]
        except (CryobridgeError, OSError):
            return set()
        return {one["pid"] for one in workers if one["pid"] and (not ready or one["state"] == "ready")}


def processor_s(pid: int | None) -> float:
    """What a process has computed so far, children left out; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return round((int(fields[11]) + int(fields[12])) / _TICKS, 2)
