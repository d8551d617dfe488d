"""What must hold of a run: each invariant looks at the history and names what violates it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from . import bounds
from .figures import QUANTITIES, course, kept
from .history import Acknowledged, Check, Ended, HealthAnswer, History, HookEnd, JobEnd, Level, Span, Steady


@dataclass(frozen=True)
class Violation:
    """One thing that should not have been."""

    invariant: str
    at_s: float
    text: str


Judge = Callable[[History], Iterator[tuple[float, str]]]

SHORT = re.compile(r"(?i)too large|no space|no room|disk|memory|\boom\b|open files|allocat")
"""How jobs say what they had too little of."""
_NO_ROOM = "disk is full"
CALM = "all is well in the calm"
TERMINAL = ("succeeded", "failed", "cancelled")
ATTEMPTS = 3


def violations(history: History, *, over: bool) -> list[Violation]:
    """All violations, in the order of time. While a run goes on (`over` is false), what may yet come is waited for."""
    found = [
        Violation(name, at_s, text)
        for name, judge in (INVARIANTS if over else WHILE_RUNNING).items()
        for at_s, text in judge(history)
    ]
    return sorted(found, key=lambda one: one.at_s)


# ---- RELION's calls


def hooks_end_well(history: History) -> Iterator[tuple[float, str]]:
    """Every hook that we did not kill ends with status 0."""
    for hook in history.all_of(HookEnd):
        if not hook.wounded and hook.status != 0:
            yield hook.at_s, f"{_name(hook)} ended with status {hook.status}: {hook.said}"


def maps_are_whole(history: History) -> Iterator[tuple[float, str]]:
    """It leaves one whole, finite map of the right size; a killed one leaves that or none."""
    for hook in history.all_of(HookEnd):
        fine = ("standard", "corrected", "none") if hook.wounded else ("standard", "corrected")
        if hook.made not in fine:
            yield hook.at_s, f"{_name(hook)} left {hook.made}; its log: {hook.said}"


def log_and_map_agree(history: History) -> Iterator[tuple[float, str]]:
    """A map that the log calls standard is that of a clean run, byte for byte, and no other is."""
    for hook in history.all_of(HookEnd):
        if hook.wounded or hook.made not in ("standard", "corrected"):
            continue
        if f"{hook.made} map" not in hook.said:
            yield hook.at_s, f"{_name(hook)} made a {hook.made} map, its log says: {hook.said or 'nothing'}"


def halves_are_alike(history: History) -> Iterator[tuple[float, str]]:
    """Both halves of an iteration get maps of the same kind."""
    pairs: dict[tuple[str, int, int], list[HookEnd]] = defaultdict(list)
    for hook in history.all_of(HookEnd):
        if not hook.wounded:
            pairs[hook.refinement, hook.iteration, hook.attempt].append(hook)
    for hooks in pairs.values():
        if len({hook.made for hook in hooks}) > 1:
            yield hooks[-1].at_s, " but ".join(f"{_name(hook)} got {hook.made}" for hook in hooks)


def calls_are_in_time(history: History) -> Iterator[tuple[float, str]]:
    """A call is answered within a bound, time that we held it apart; it may wait while other ones are answered."""
    ends = history.all_of(HookEnd)
    for hook in ends:
        took = hook.seconds - hook.held_s
        others = (other.at_s for other in ends if other.refinement != hook.refinement and other.status == 0)
        since = hook.at_s - max((at for at in others if at < hook.at_s), default=0.0)
        if took > bounds.CALL_S and (since > bounds.CALL_S or took > bounds.QUEUED_S):
            yield (
                hook.at_s,
                f"{_name(hook)} took {took:.0f} s; at most {bounds.CALL_S:.0f} s, {bounds.QUEUED_S:.0f} s queued",
            )


# ---- jobs


def jobs_are_kept(history: History) -> Iterator[tuple[float, str]]:
    """An acknowledged job is known, and finished, at the end."""
    ends = {end.job_id: end for end in history.all_of(JobEnd)}
    for job in history.all_of(Acknowledged):
        end = ends.get(job.job_id)
        if end is None or end.state not in TERMINAL:
            what = "never ended" if end is None else end.state
            yield job.at_s, f"job {job.job_id} ({job.flavour}), acknowledged: {what} {end.text if end else ''}".rstrip()


def requests_are_done_once(history: History) -> Iterator[tuple[float, str]]:
    """A named request is one job, however often it is made."""
    ids: dict[str, set[str]] = defaultdict(set)
    for job in history.all_of(Acknowledged):
        if job.request:
            ids[job.request].add(job.job_id)
            if len(ids[job.request]) > 1:
                yield job.at_s, f"request {job.request} became {len(ids[job.request])} jobs"
    yield from checked("requests are done once", history)


def jobs_are_equal(history: History) -> Iterator[tuple[float, str]]:
    """What a job made is what a clean run makes, byte for byte."""
    for end in history.all_of(JobEnd):
        if end.state == "succeeded" and end.differing:
            yield end.at_s, f"job {end.job_id}: other than a clean run's: {', '.join(end.differing)}"


def jobs_fail_for_a_reason(history: History) -> Iterator[tuple[float, str]]:
    """A good job fails only when its worker was lost three times, or for want of what was short in its time."""
    acknowledged = {job.job_id: job.at_s for job in history.all_of(Acknowledged)}
    short = [span for span in history.all_of(Span) if span.what == "room"]
    for end in history.all_of(JobEnd):
        if end.state == "cancelled" and not end.cancel_asked:
            yield end.at_s, f"job {end.job_id} was cancelled by nobody"
        if end.state != "failed" or end.may_fail:
            continue
        if end.reason == "worker_died" and end.attempts >= ATTEMPTS:
            continue
        since = acknowledged.get(end.job_id, 0.0)
        in_want = any(span.begin_s <= end.at_s and since <= span.until_s for span in short)
        if not (in_want and SHORT.search(f"{end.reason} {end.text}")):
            yield end.at_s, f"job {end.job_id} failed after {end.attempts} attempts: {end.reason} {end.text}"


# ---- the service


def health_is_in_time(history: History) -> Iterator[tuple[float, str]]:
    """The daemon says how it is within seconds, whenever we let it."""
    for answer in undisturbed(history):
        if answer.error:
            yield answer.at_s, f"no health: {answer.error}"
        elif answer.seconds > bounds.HEALTH_S:
            yield answer.at_s, f"health took {answer.seconds:.1f} s; at most {bounds.HEALTH_S:.0f} s"


def undisturbed(history: History) -> list[HealthAnswer]:
    """The questions about health that no deed kept the daemon from answering.

    None can be started on a full disk, so one that was killed before has no successor until there is room.
    """
    refused = [end.at_s for end in history.all_of(Ended) if not end.served and _NO_ROOM in end.words]
    held = [
        span
        for span in history.all_of(Span)
        if span.what == "daemon"
        or (span.what == "room" and any(span.begin_s <= at_s <= span.until_s for at_s in refused))
    ]
    return [
        answer
        for answer in history.all_of(HealthAnswer)
        if not any(
            span.begin_s <= answer.at_s and answer.at_s - answer.seconds <= span.until_s + bounds.RESTART_S
            for span in held
        )
    ]


def daemons_live(history: History) -> Iterator[tuple[float, str]]:
    """A daemon ends only when it is told to, or killed; one that an operator starts on a full disk says so and ends."""
    short = [span for span in history.all_of(Span) if span.what == "room"]
    for end in history.all_of(Ended):
        no_room = any(span.begin_s <= end.at_s <= span.until_s for span in short) and _NO_ROOM in end.words
        if not end.wanted and (end.served or not no_room):
            yield end.at_s, f"daemon {end.pid} ended by itself: {end.words}"


def processes_are_bounded(history: History) -> Iterator[tuple[float, str]]:
    """Memory and descriptors never pass their bound; one violation a process and quantity."""
    told: set[tuple[int, str]] = set()
    for level in history.all_of(Level):
        for what, value, most in (
            ("MB", level.rss_mb, bounds.MOST_MB[level.role]),
            ("descriptors", float(level.descriptors), float(bounds.MOST_DESCRIPTORS[level.role])),
        ):
            if value > most and (level.pid, what) not in told:
                told.add((level.pid, what))
                yield level.at_s, f"{level.role} {level.pid}: {value:.0f} {what}; at most {most:.0f}"


def processes_are_flat(history: History) -> Iterator[tuple[float, str]]:
    """Memory and descriptors do not grow with time, where processes were followed long enough to tell."""
    levels = history.all_of(Level)
    limits = {"memory (MB)": bounds.MB_PER_MINUTE, "descriptors": bounds.DESCRIPTORS_PER_MINUTE}
    for role in ("daemon", "worker"):
        for name, limit in limits.items():
            found = course(levels, role, QUANTITIES[name])
            if found is None or found.slope is None or found.followed_s < bounds.FOLLOWED_S:
                continue
            if found.slope > limit[role]:
                text = f"{role}: {name} grow by {found.slope:.2f} a minute; at most {limit[role]:g}"
                yield levels[-1].at_s, text


def nothing_is_kept(history: History) -> Iterator[tuple[float, str]]:
    """Of a round in the calm neither memory nor a descriptor stays in a process, and the process itself does."""
    seen = history.all_of(Steady)
    if len({one.round for one in seen}) < bounds.WARMING_ROUNDS + bounds.JUDGED_ROUNDS:
        return
    limits = {"memory (MB)": bounds.KEPT_MB, "descriptors": bounds.KEPT_DESCRIPTORS}
    for role in ("daemon", "worker"):
        for name, limit in limits.items():
            lives = kept(seen, role, QUANTITIES[name])
            if max((life.rounds for life in lives.values()), default=0) < bounds.JUDGED_ROUNDS:
                yield seen[-1].level.at_s, f"{role}: no process lived for {bounds.JUDGED_ROUNDS} calm rounds"
            for pid, life in lives.items():
                if life.rounds >= bounds.JUDGED_ROUNDS and life.slope > limit[role]:
                    text = f"{role} {pid} keeps {life.slope:.2f} of {name} a calm round; at most {limit[role]:g}"
                    yield seen[-1].level.at_s, text


def checked(name: str, history: History) -> Iterator[tuple[float, str]]:
    """What was looked at on the way held."""
    for check in history.all_of(Check):
        if check.invariant == name and not check.holds:
            yield check.at_s, check.text


def _name(hook: HookEnd) -> str:
    return f"{hook.refinement} it{hook.iteration:03d} half{hook.half}"


WHILE_RUNNING: dict[str, Judge] = {
    "hooks end well": hooks_end_well,
    "maps are whole": maps_are_whole,
    "log and map agree": log_and_map_agree,
    "halves are alike": halves_are_alike,
    "calls are in time": calls_are_in_time,
    "requests are done once": requests_are_done_once,
    "jobs are equal": jobs_are_equal,
    "jobs fail for a reason": jobs_fail_for_a_reason,
    "health is in time": health_is_in_time,
    "health is true": partial(checked, "health is true"),
    "daemons live": daemons_live,
    "processes are bounded": processes_are_bounded,
    "inbox answers": partial(checked, "inbox answers"),
    "deeds are done": partial(checked, "deeds are done"),
    "others' files are untouched": partial(checked, "others' files are untouched"),
}
INVARIANTS: dict[str, Judge] = {
    **WHILE_RUNNING,
    "jobs are kept": jobs_are_kept,
    "processes are flat": processes_are_flat,
    "nothing is kept": nothing_is_kept,
    CALM: partial(checked, CALM),
    "nothing is left behind": partial(checked, "nothing is left behind"),
}
