"""Users of jobs: hand over, some under a name and often twice, cancel a few, and wait for every end."""

from __future__ import annotations

import random
import shutil
import threading
import time

from soak.submitting import FLAVOURS, Submitting, digests

from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable
from cryobridge.schemas.requests import CancelJob, SubmitJob, WaitForJob
from cryobridge.schemas.state import TERMINAL
from cryobridge.schemas.wire import Message

from .journal import Asked, CancelAsked, JobOver, Journal, Taken
from .place import Place

PATIENCE_S = 60.0
JOB_S = 900.0
"""A user is patient: while daemon or workers are killed every few seconds his job may wait behind many calls."""
SLICE_S = 5.0
OPEN = 3
"""So many jobs of one user at a time."""
QUICK_FLAVOURS = tuple(FLAVOURS)
REAL_FLAVOURS = ("correct", "lowpass", "combine", "fsc3d")


class Handing:
    """All jobs of a run; `soak.submitting` knows what they are made of, and what a clean run of each makes."""

    def __init__(self, place: Place, journal: Journal) -> None:
        self._place = place
        self._journal = journal
        self._known = Submitting(place)  # type: ignore[arg-type]  # a place is all of a stage that it needs
        self._flavours = REAL_FLAVOURS if place.real else QUICK_FLAVOURS

    def prepare(self) -> None:
        """Run one job of each flavour while nothing disturbs."""
        self._known.prepare()

    def stream(self, name: str, seed: int, quiet: threading.Event) -> None:
        """One user: a few jobs open at a time; what is open in the end is waited for."""
        dice = random.Random(seed)
        number = 0
        threads: list[threading.Thread] = []
        while not quiet.is_set():
            threads = [thread for thread in threads if thread.is_alive()]
            if len(threads) < OPEN:
                number += 1
                arguments = (f"{name}-{number}", dice.randrange(2**32))
                threads.append(threading.Thread(target=self._one, args=arguments, daemon=True))
                threads[-1].start()
            quiet.wait(dice.uniform(0.0, 0.4))
        for thread in threads:
            thread.join(JOB_S)

    def _one(self, key: str, seed: int) -> None:
        dice = random.Random(seed)
        flavour = dice.choice(self._flavours)
        output = self._known.output()
        request = key if dice.random() < 0.7 else ""
        priority = dice.choice(("batch", "batch", "interactive"))
        run = {"priority": priority, **({"request_id": request} if request else {})}
        spec = self._known.spec(flavour, output, **run)
        self._journal.add(Asked(self._journal.now_s, key, request, str(output), flavour, priority))
        job_id = self._hand_over(key, spec, again=bool(request))
        if job_id is None:
            return
        if request and dice.random() < 0.4:
            # A user who does not trust the answer.
            time.sleep(dice.uniform(0.0, 0.5))
            self._hand_over(key, spec, again=True)
        if dice.random() < 0.12:
            time.sleep(dice.uniform(0.0, 0.3))
            self._cancel(job_id)
        self._wait(job_id, flavour, output)

    def _hand_over(self, key: str, spec: Message, *, again: bool) -> str | None:
        """Submit until the daemon answers; what has no name is not asked for twice. The job's id, or None."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                with self._place.client() as client:
                    job_id = str(client.request(SubmitJob(spec=spec))["job_id"])
            except (DaemonUnavailable, OSError):
                if not again:
                    return None
                time.sleep(0.05)
            except CryobridgeError:
                # Refused: nothing was promised.
                return None
            else:
                self._journal.add(Taken(self._journal.now_s, key, job_id))
                return job_id
        return None

    def _cancel(self, job_id: str) -> None:
        self._journal.add(CancelAsked(self._journal.now_s, job_id))
        try:
            with self._place.client() as client:
                client.request(CancelJob(job_id=job_id))
        except (CryobridgeError, OSError):
            return

    def _wait(self, job_id: str, flavour: str, output) -> None:
        end = time.monotonic() + JOB_S
        while time.monotonic() < end:
            try:
                with self._place.client() as client:
                    reply = client.request(WaitForJob(job_id=job_id, timeout_s=SLICE_S))
            except (CryobridgeError, OSError):
                time.sleep(0.05)
                continue
            if reply["state"] in TERMINAL:
                differing: tuple[str, ...] = ()
                if reply["state"] == "succeeded":
                    made, clean = digests(output), self._known.clean[flavour]
                    differing = tuple(sorted(one for one in {*made, *clean} if made.get(one) != clean.get(one)))
                self._journal.add(
                    JobOver(
                        self._journal.now_s,
                        job_id,
                        str(reply["state"]),
                        str(reply["reason"] or ""),
                        int(reply["attempts"]),
                        differing,
                    )
                )
                shutil.rmtree(output, ignore_errors=True)
                return
