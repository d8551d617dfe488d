"""A run from its preparation to its verdict."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.refinement import simulate

from . import checker
from .calling import Calling
from .disturbing import Disturbing
from .journal import Entry, Journal
from .place import Place
from .submitting import JOB_S, Handing

REFINEMENTS, USERS = {False: 3, True: 2}, 3
READY_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What a run was and what came of it."""

    seed: int
    kills: int
    real: bool
    seconds: float
    entries: Sequence[Entry]
    violations: Sequence[checker.Violation]


def run(seed: int, kills: int, folder: Path, *, real: bool, promise: checker.Promise | None = None) -> Outcome:
    """Kill so often under load, let everything end, and judge.

    Parameters
    ----------
    folder
        Gets the journal, `history-quick.jsonl` or `history-real.jsonl`, the database and the daemon's logs.
    real
        Whether workers are real ones; else the quick ones of `kills.worker`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = "real" if real else "quick"
    began = time.monotonic()
    journal = Journal(folder / f"history-{kind}.jsonl")
    with Place.made(simulate(), real=real) as place:
        try:
            _disturb(place, journal, kills, random.Random(f"{seed} {kind}"))
        finally:
            if place.supervisor is not None:
                place.supervisor.stop()
            for name, source in (("database", place.database), ("daemon", place.folder / "state" / "daemon.log")):
                if source.exists():
                    shutil.copy(source, folder / f"{name}-{kind}{source.suffix}")
            journal.close()
    found = checker.violations(journal.entries, checker.read_database(folder / f"database-{kind}.sqlite"), promise)
    return Outcome(seed, kills, real, time.monotonic() - began, journal.entries, found)


def _disturb(place: Place, journal: Journal, kills: int, dice: random.Random) -> None:
    calling, handing, quiet = Calling(place, journal), Handing(place, journal), threading.Event()
    _until_ready(place)
    calling.prepare()
    handing.prepare()
    users = [
        threading.Thread(target=stream, args=(f"{name}{number}", dice.randrange(2**32), quiet), daemon=True)
        for name, stream, count in (
            ("refinement", calling.stream, REFINEMENTS[place.real]),
            ("user", handing.stream, USERS),
        )
        for number in range(count)
    ]
    for user in users:
        user.start()
    try:
        Disturbing(place, journal, dice).kill(kills)
    finally:
        quiet.set()
        for user in users:
            user.join(JOB_S)


def _until_ready(place: Place) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        try:
            with place.client() as client:
                if client.welcome.state == "ready":
                    return
        except Exception:  # noqa: BLE001 - it is not there yet, whatever it says
            time.sleep(0.05)
    raise RuntimeError(f"no daemon is ready after {READY_S:.0f} s")
