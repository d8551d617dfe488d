"""What runs were and what came of them: a table for people, one JSON file for programs."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .journal import Asked, Called, CallOver, CancelAsked, JobOver, Killed, Ready, Taken, of
from .run import Outcome

READY_S = 2.0
"""What is promised."""


def write_report(outcomes: Sequence[Outcome], folder: Path) -> str:
    """Write `report.json`; return the table."""
    facts = [summary(outcome) for outcome in outcomes]
    (folder / "report.json").write_text(json.dumps(facts, indent=2) + "\n")
    return "\n\n".join(_table(one) for one in facts)


def summary(outcome: Outcome) -> dict[str, Any]:
    """All figures of a run, as plain values."""
    entries = outcome.entries
    ready = of(entries, Ready)
    asked, taken, ends, calls = (of(entries, kind) for kind in (Asked, Taken, JobOver, CallOver))
    restarted = {one.number for one in of(entries, Killed) if one.target != "worker"}
    return {
        "workers": "real" if outcome.real else "quick",
        "seed": outcome.seed,
        "seconds": round(outcome.seconds, 1),
        "kills": dict(Counter(one.target for one in of(entries, Killed))),
        "ready after the daemon's end (s)": spread(
            [one.seconds for one in ready if one.what == "daemon" and one.kill in restarted]
        ),
        f"of these later than {READY_S:g} s": sum(
            one.seconds > READY_S for one in ready if one.what == "daemon" and one.kill in restarted
        ),
        "of the processor until ready (s)": spread(
            [one.cpu_s for one in ready if one.what == "daemon" and one.kill in restarted]
        ),
        "greeting after a worker's end (s)": spread(
            [one.seconds for one in ready if one.what == "daemon" and one.kill not in restarted]
        ),
        "new worker ready after a worker's end (s)": spread([one.seconds for one in ready if one.what == "worker"]),
        "load average": spread([one.load for one in ready]),
        "calls": {
            "begun": len(of(entries, Called)),
            **Counter(one.made for one in calls),
            "seconds": spread([one.seconds for one in calls]),
        },
        "jobs": {
            "asked for": len(asked),
            "acknowledged": len({one.job_id for one in taken}),
            "acknowledgements": len(taken),
            "cancel asked": len(of(entries, CancelAsked)),
            **Counter(one.state for one in ends),
            "attempted again": sum(one.attempts > 1 for one in ends),
        },
        "violations": [dataclasses.asdict(one) for one in outcome.violations],
    }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Count, median, the 99th of a hundred, and the most; None where there is none."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered), 3),
        "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 3),
        "max": round(ordered[-1], 3),
    }


def _table(facts: dict[str, Any]) -> str:
    rows = []
    for name, value in facts.items():
        shown = len(value) if name == "violations" else value
        if isinstance(shown, dict):
            shown = ", ".join(f"{key} {_plain(one)}" for key, one in shown.items())
        rows.append(f"{name:45s} {shown}")
    return "\n".join(rows)


def _plain(value: Any) -> str:
    return (
        "(" + ", ".join(f"{key} {one}" for key, one in value.items()) + ")" if isinstance(value, dict) else str(value)
    )
