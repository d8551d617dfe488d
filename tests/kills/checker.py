"""Decides what was violated: a pure function of what clients saw and of the database that is left."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryobridge.schemas.state import MAX_ATTEMPTS, TERMINAL, TRANSITIONS, JobState

from .journal import (
    Asked,
    Called,
    CallOver,
    CancelAsked,
    Entry,
    JobOver,
    Killed,
    NotReady,
    Ready,
    Taken,
    of,
)

GONE = ("no daemon listens", "does not take connections")
"""What a hook says that could not even connect; whoever keeps the socket through a restart never has it said."""


@dataclass(frozen=True)
class Violation:
    """One thing that should not have been."""

    rule: str
    at_s: float
    text: str


@dataclass(frozen=True)
class Row:
    """A job as it is in the database."""

    job_id: str
    kind: str
    state: str
    attempts: int
    output: str = ""
    request: str = ""


@dataclass(frozen=True)
class Left:
    """What a run leaves: the jobs, and of each the types of its events in their order."""

    rows: Sequence[Row]
    events: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Promise:
    """How soon after a kill the daemon is ready: more than both wall and processor seconds violates it.

    The processor's seconds are the new daemon's own, so that a busy machine does not break the promise;
    `wall_s` alone violates it from `at_all_s` on.
    """

    wall_s: float = 2.0
    cpu_s: float = 2.0
    at_all_s: float = 10.0


def violations(entries: Sequence[Entry], left: Left, promise: Promise | None = None) -> list[Violation]:
    """All that was violated, in the order of time."""
    ready = promise or Promise()
    found = [Violation("ready in time", at_s, text) for at_s, text in ready_in_time(entries, ready)]
    for rule, judge in RULES.items():
        found += [Violation(rule, at_s, text) for at_s, text in judge(entries, left)]
    return sorted(found, key=lambda one: one.at_s)


def read_database(path: Path) -> Left:
    """The jobs and events of a daemon that has ended."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = [
            Row(*values)
            for values in database.execute(
                "SELECT id, kind, state, attempts, coalesce(json_extract(spec, '$.output'), ''), "
                "coalesce(request_id, '') FROM job ORDER BY number"
            )
        ]
        events: dict[str, list[str]] = defaultdict(list)
        for job_id, kind in database.execute("SELECT job_id, type FROM event ORDER BY id"):
            events[job_id].append(kind)
    return Left(rows, events)


# ---- the daemon


def ready_in_time(entries: Sequence[Entry], promise: Promise) -> Iterator[tuple[float, str]]:
    """After every kill the daemon greets as ready, soon; a kill that is followed by another before needs not."""
    answered = {one.kill for one in of(entries, Ready) if one.what == "daemon"}
    answered |= {one.kill for one in of(entries, NotReady)}
    for one in of(entries, NotReady):
        yield one.at_s, f"kill {one.kill}: no daemon was ready within {one.seconds:.1f} s"
    for one in of(entries, Ready):
        late = one.seconds > promise.wall_s and one.cpu_s > promise.cpu_s
        if one.what == "daemon" and (late or one.seconds > promise.at_all_s):
            yield one.at_s, f"kill {one.kill}: ready after {one.seconds:.2f} s ({one.cpu_s:.2f} s of the processor)"
    kills = of(entries, Killed)
    for one, after in itertools.zip_longest(kills, kills[1:]):
        cut_short = after is not None and after.target == "daemon as it starts"
        if one.number not in answered and not cut_short:
            yield one.at_s, f"kill {one.number} ({one.target}): nobody looked whether the daemon came back"


# ---- jobs


def jobs_are_kept(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """An acknowledged job is in the database, and has ended."""
    states = {row.job_id: row.state for row in left.rows}
    seen = {over.job_id for over in of(entries, JobOver)}
    for taken in of(entries, Taken):
        state = states.get(taken.job_id)
        if state is None:
            yield taken.at_s, f"job {taken.job_id}, acknowledged, is not in the database"
        elif state not in TERMINAL:
            yield taken.at_s, f"job {taken.job_id}, acknowledged, is {state} in the end"
        elif taken.job_id not in seen:
            yield taken.at_s, f"job {taken.job_id}, acknowledged: its client was never told its end"


def ends_are_true(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """A client is told the end that is in the database."""
    states = {row.job_id: row.state for row in left.rows}
    for over in of(entries, JobOver):
        if states.get(over.job_id, over.state) != over.state:
            yield over.at_s, f"job {over.job_id}: {over.state} was told, {states[over.job_id]} is in the database"


def states_follow_the_table(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """The events of every job are a walk through the table of states, from queued to the state it has."""
    for row in left.rows:
        walk = [JobState(kind) for kind in left.events.get(row.job_id, ()) if kind in set(JobState)]
        if not walk or walk[0] is not JobState.QUEUED:
            yield 0.0, f"job {row.job_id} did not begin queued: {[str(state) for state in walk]}"
            continue
        for now, then in itertools.pairwise(walk):
            if then not in TRANSITIONS[now]:
                yield 0.0, f"job {row.job_id} went from {now} to {then}"
        if walk[-1] != row.state:
            yield 0.0, f"job {row.job_id} is {row.state}, its last event says {walk[-1]}"


def attempts_are_few(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """No job was begun more often than is allowed."""
    for row in left.rows:
        begun = sum(kind == JobState.RUNNING for kind in left.events.get(row.job_id, ()))
        if max(begun, row.attempts) > MAX_ATTEMPTS:
            yield 0.0, f"job {row.job_id} was begun {max(begun, row.attempts)} times; at most {MAX_ATTEMPTS}"


def requests_are_made_once(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """A request that has a name is one job, however often it was asked for and whatever the client was told."""
    names = {asked.key: asked for asked in of(entries, Asked) if asked.request}
    ids: dict[str, set[str]] = defaultdict(set)
    for taken in of(entries, Taken):
        if taken.key in names:
            ids[names[taken.key].request].add(taken.job_id)
    outputs = Counter(row.output for row in left.rows)
    for asked in names.values():
        count = max(len(ids[asked.request]), outputs[asked.output])
        if count > 1:
            yield asked.at_s, f"request {asked.request} became {count} jobs"


def results_are_equal(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """What a job made is what a clean run makes, by its hash."""
    for over in of(entries, JobOver):
        if over.state == JobState.SUCCEEDED and over.differing:
            yield over.at_s, f"job {over.job_id}: other than a clean run's: {', '.join(over.differing)}"


def jobs_end_for_a_reason(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """A good job fails only after its worker was lost as often as is allowed, and is cancelled only when asked."""
    asked = {one.job_id for one in of(entries, CancelAsked)}
    for over in of(entries, JobOver):
        if over.state == JobState.CANCELLED and over.job_id not in asked:
            yield over.at_s, f"job {over.job_id} was cancelled by nobody"
        lost = over.reason == "worker_died" and over.attempts >= MAX_ATTEMPTS
        if over.state == JobState.FAILED and not lost:
            yield over.at_s, f"job {over.job_id} failed after {over.attempts} attempts: {over.reason}"


# ---- calls


def calls_end_with_one_map(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """Every call ends with status 0 and exactly one whole finite map, which is what the log says."""
    overs = {(over.refinement, over.iteration, over.half): over for over in of(entries, CallOver)}
    for call in of(entries, Called):
        name = f"{call.refinement} it{call.iteration:03d} half{call.half}"
        over = overs.get((call.refinement, call.iteration, call.half))
        if over is None:
            yield call.at_s, f"{name} never ended"
        elif over.status != 0:
            yield over.at_s, f"{name} ended with status {over.status}: {over.said}"
        elif over.made not in ("standard", "corrected") or over.maps != 1:
            yield over.at_s, f"{name} left {over.maps} maps: {over.made}; its log: {over.said}"
        elif f"{over.made} map" not in over.said:
            yield over.at_s, f"{name} made a {over.made} map, its log says: {over.said or 'nothing'}"


def halves_are_alike(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """Both halves of an iteration get maps of one kind."""
    pairs: dict[tuple[str, int], list[CallOver]] = defaultdict(list)
    for over in of(entries, CallOver):
        pairs[over.refinement, over.iteration].append(over)
    for (refinement, iteration), overs in pairs.items():
        if len({over.made for over in overs}) > 1:
            made = " and ".join(f"half {over.half} {over.made}" for over in overs)
            yield overs[-1].at_s, f"{refinement} it{iteration:03d}: {made}"


def hooks_find_the_socket(entries: Sequence[Entry], left: Left) -> Iterator[tuple[float, str]]:
    """While the daemon restarts, hooks wait at its socket or fall back; none finds nobody there."""
    for over in of(entries, CallOver):
        if any(words in over.said for words in GONE):
            yield over.at_s, f"{over.refinement} it{over.iteration:03d} half{over.half}: {over.said}"


Judge = Callable[[Sequence[Entry], Left], Iterator[tuple[float, str]]]
RULES: dict[str, Judge] = {
    "jobs are kept": jobs_are_kept,
    "ends are true": ends_are_true,
    "states follow the table": states_follow_the_table,
    "attempts are few": attempts_are_few,
    "requests are made once": requests_are_made_once,
    "results are equal": results_are_equal,
    "jobs end for a reason": jobs_end_for_a_reason,
    "calls end with one map": calls_end_with_one_map,
    "halves are alike": halves_are_alike,
    "hooks find the socket": hooks_find_the_socket,
}
