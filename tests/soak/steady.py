"""After the storm: work comes and goes, round after round, and what processes have after each is noted.

While deeds fall at random the memory of a worker goes up and down by tens of megabytes and no life is long; what is
kept for ever of one refinement or job, however little, is seen here.
"""

from __future__ import annotations

import logging
import time

from .history import Steady
from .invariants import CALM
from .probing import levels
from .stage import Stage
from .submitting import FLAVOURS

log = logging.getLogger(__name__)

RESTS_S = 1.0
"""What a process gives back, it has given back by then."""


def go_round(stage: Stage, rounds: int) -> None:
    """So many times: a new refinement that trains its network, one job of each flavour, and a look at the processes."""
    refining, submitting = stage.services["refining"], stage.services["submitting"]
    began = time.monotonic()
    for number in range(rounds):
        ends = refining.visit(f"steady{number}")
        taken = [submitting.submit(flavour, submitting.output()) for flavour in FLAVOURS]
        done = all(taken) and submitting.until(lambda: not submitting.open_ids())
        stage.history.check(CALM, done, f"round {number}: of jobs {taken} {submitting.open_ids()} do not end")
        for end in ends[2:]:
            stage.history.check(CALM, end.made == "corrected", f"round {number}: half{end.half}: {end.said}")
        time.sleep(RESTS_S)
        for level in levels(stage):
            stage.history.add(Steady(number, level))
    log.info("%d calm rounds took %.0f s", rounds, time.monotonic() - began)
