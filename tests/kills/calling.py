"""RELION's part: refinements whose hooks call iteration after iteration, and what each call left."""

from __future__ import annotations

import random
import subprocess
import threading
import time

from soak.refining import ENDS_S, LONGEST_REST_S, NO_CORRECTION, Refining
from support.answers import result_lines
from support.refinement import Call, Refinement

from .journal import Called, CallOver, Journal
from .place import Place

FIRST = 3
SWITCHED_OFF_SHARE = 0.15


class Calling:
    """All refinements of a run; `clean` is what `soak.refining` knows of maps that a call may rightly get."""

    def __init__(self, place: Place, journal: Journal) -> None:
        self._place = place
        self._journal = journal
        self._known = Refining(place)  # type: ignore[arg-type]  # a place is all of a stage that it needs

    def prepare(self) -> None:
        """Make every standard map that a call may rightly get, while nothing disturbs."""
        self._known.prepare()

    def stream(self, name: str, seed: int, quiet: threading.Event) -> None:
        """One refinement, iteration after iteration, until all is quiet."""
        dice = random.Random(seed)
        refinement = self._place.refinement(name, self._known.simulated)
        iteration = FIRST
        while not quiet.is_set():
            more = NO_CORRECTION if dice.random() < SWITCHED_OFF_SHARE else {}
            calls = []
            began = time.monotonic()
            for half in (1, 2):
                star = refinement.write_call(iteration, half)
                self._journal.add(Called(self._journal.now_s, name, iteration, half))
                calls.append(refinement.call(star, half, **more))
                time.sleep(dice.choice((0.0, 0.0, 0.2)) if half == 1 else 0)
            for call in calls:
                self._ended(refinement, call, name, iteration)
            self._forget(refinement, iteration - 2)
            iteration += 1
            # A refinement searches between its calls; without a rest they would take all of a real worker's time, and
            # jobs, which come after them, none.
            took_s = time.monotonic() - began if self._place.real else 0.0
            quiet.wait(dice.uniform(0.0, 0.5) + min(dice.uniform(0.5, 2.0) * took_s, LONGEST_REST_S))

    def _ended(self, refinement: Refinement, call: Call, name: str, iteration: int) -> None:
        try:
            status = call.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            call.process.kill()
            status = call.wait()
        lines = result_lines(call)
        stem = call.result.stem
        maps = [
            path for path in refinement.job_folder.glob(f"*{stem}*.mrc") if path.name.startswith((stem, f".{stem}"))
        ]
        self._journal.add(
            CallOver(
                self._journal.now_s,
                name,
                iteration,
                call.half,
                status,
                round(time.monotonic() - call.started, 3),
                self._known.made(call.result, call.half),
                (lines[-1] if lines else " / ".join(call.text.splitlines()[-3:]))[:400],
                len(maps),
            )
        )
        call.log.unlink(missing_ok=True)
        refinement.calls.remove(call)

    def _forget(self, refinement: Refinement, iteration: int) -> None:
        """Remove an old iteration's files, so that a long run needs no large disk."""
        if iteration >= FIRST:
            for path in refinement.job_folder.glob(f"run_it{iteration:03d}_*"):
                path.unlink()
