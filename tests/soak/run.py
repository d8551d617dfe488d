"""A run from its preparation to its verdict."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import bounds
from .bystanders import left_over
from .deeds import DEEDS
from .deeds.deed import NotHereError
from .deeds.kills import degraded
from .history import Done, History
from .invariants import Violation, violations
from .probing import ask_health, follow_processes
from .refining import Refining
from .schedule import Appointment, schedule
from .stage import Stage, lives
from .steady import go_round
from .submitting import Submitting

log = logging.getLogger(__name__)

GAP_S = 1.5
REFINEMENTS, SUBMITTERS = 2, 1
LOOK_EVERY_S = 5.0
DEED_S = 400.0
"""Most deeds are done by then, and the others as long as jobs end that they may wait for; one that is not is a fault of
the soak, or of a service that never answers."""
ENDS_S = 30.0
SKIPPED = "skipped: "


@dataclass(frozen=True)
class Outcome:
    """What a run was and what came of it."""

    seed: int
    seconds: float
    appointments: list[Appointment]
    history: History
    violations: list[Violation]


def run(
    seed: int, seconds: float, logs: Path | None = None, gap_s: float = GAP_S, rounds: int = bounds.ROUNDS
) -> Outcome:
    """Disturb a service of its own for so many seconds, then let it settle and work undisturbed, and judge.

    Parameters
    ----------
    logs
        Where the logs of daemon and workers are copied to.
    gap_s
        Mean time between two deeds.
    rounds
        Of the calm at the end: see `steady.go_round`.
    """
    appointments = schedule(seed, seconds, DEEDS, gap_s)
    history = History()
    with Stage.set(history) as stage:
        try:
            _run(stage, seed, appointments, rounds)
        finally:
            if logs is not None:
                _keep_logs(stage, logs)
    return Outcome(seed, seconds, appointments, history, violations(history, over=True))


def _run(stage: Stage, seed: int, appointments: list[Appointment], rounds: int) -> None:
    history = stage.history
    refining, submitting, calm = Refining(stage), Submitting(stage), threading.Event()
    stage.services.update(refining=refining, submitting=submitting, calm=calm)
    stage.start()
    refining.prepare()
    submitting.prepare()
    log.info("clean runs took %.0f s; %d deeds begin", history.now_s, len(appointments))
    history.began = time.monotonic()
    quiet = threading.Event()
    watching = [_go(act) for act in (stage.keep, lambda: ask_health(stage), lambda: follow_processes(stage))]
    watching.append(_go(submitting.follow))
    dice = random.Random(seed)
    users = [
        _go(refining.stream, f"refinement{number}", dice.randrange(2**32), quiet) for number in range(REFINEMENTS)
    ] + [_go(submitting.stream, f"user{number}", dice.randrange(2**32), quiet) for number in range(SUBMITTERS)]
    _keep_appointments(stage, appointments)
    quiet.set()
    _settle(stage, users, calm)
    go_round(stage, rounds)
    submitting.count_doubles()
    stage.over.set()
    _end(stage)
    for thread in watching:
        thread.join(30)


def _keep_appointments(stage: Stage, appointments: list[Appointment]) -> None:
    """Do every deed at its time, each in a thread, and say at once what is violated."""
    told: set[Violation] = set()
    looked = 0.0
    threads = []
    for appointment in appointments:
        while (left := appointment.at_s - stage.history.now_s) > 0:
            time.sleep(min(left, 0.2))
            if stage.history.now_s - looked > LOOK_EVERY_S:
                looked = stage.history.now_s
                _tell(stage.history, told)
        threads.append((appointment, _go(_do, stage, appointment)))
    if not stage.until(lambda: not any(thread.is_alive() for _, thread in threads), DEED_S):
        # Some wait for jobs of theirs; in a long queue that is well as long as the queue moves.
        stage.services["submitting"].until(lambda: not any(thread.is_alive() for _, thread in threads))
    for appointment, thread in threads:
        if thread.is_alive():
            stage.history.check("nothing is left behind", False, f"{appointment.deed} does not end")
    _tell(stage.history, told)


def _do(stage: Stage, appointment: Appointment) -> None:
    began_s = stage.history.now_s
    try:
        outcome = DEEDS[appointment.deed].act(stage, random.Random(appointment.draw))
    except NotHereError as error:
        outcome = f"{SKIPPED}{error}"
    except Exception as error:  # a deed's own fault must not end the run unnoticed
        log.exception("%s", appointment.deed)
        outcome = f"failed: {type(error).__name__}: {error}"
        stage.history.check("deeds are done", False, f"{appointment.deed} (number {appointment.number}): {outcome}")
    log.info("%6.1f s  %s: %s", began_s, appointment.deed, outcome)
    stage.history.add(Done(began_s, stage.history.now_s, appointment.number, appointment.deed, outcome))


def _settle(stage: Stage, users: list[threading.Thread], calm: threading.Event) -> None:
    """Nothing disturbs any more: the daemon is well, users finish what they have begun, jobs end."""
    submitting = stage.services["submitting"]
    stage.set_clock(0.0)
    began = time.monotonic()
    well = stage.until(lambda: stage.daemon_pid() and not degraded(stage), bounds.JOB_S, every_s=0.5)
    stage.history.check("health is true", well, f"{bounds.JOB_S:.0f} s after the last deed the daemon is not well")
    calm.set()
    for thread in users:
        thread.join(bounds.JOB_S)
        stage.history.check("nothing is left behind", not thread.is_alive(), f"{thread.name} does not end")
    submitting.until(lambda: not submitting.open_ids())
    submitting.look()
    log.info("settled after %.0f s", time.monotonic() - began)


def _end(stage: Stage) -> None:
    """Stop the daemon as an operator does, and look at what is left."""
    pid = stage.signal_daemon(signal.SIGTERM)
    gone = pid is None or stage.until(lambda: not lives(pid), ENDS_S)
    stage.history.check("health is true", gone, f"daemon {pid} was told to end and is there after {ENDS_S:.0f} s")
    for line in stage.end_processes():
        stage.history.check("nothing is left behind", False, f"a process: {line}")
    for name in ("tmp", "state", "run"):
        folder = stage.state if name == "state" else stage.folder / name
        for path in left_over(folder):
            stage.history.check("nothing is left behind", False, f"{name}/{path}")
    for path in (stage.folder / "tmp").iterdir():
        stage.history.check("nothing is left behind", False, f"tmp/{path.name}")
    for path in (stage.inbox / "claimed").glob("*"):
        stage.history.check("inbox answers", False, f"{path.name} is still claimed")


def _tell(history: History, told: set[Violation]) -> None:
    for found in violations(history, over=False):
        if found not in told:
            told.add(found)
            log.error("VIOLATION at %.1f s: %s: %s", found.at_s, found.invariant, found.text)


def _keep_logs(stage: Stage, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    for path in [stage.folder / "daemon.out", *stage.state.glob("*.log*"), *(stage.folder / "run").glob("*.log")]:
        with contextlib.suppress(OSError):
            shutil.copy(path, logs / path.name)


def _go(act: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(
        target=act, args=arguments, daemon=True, name=str(arguments[0]) if arguments else "watching"
    )
    thread.start()
    return thread
