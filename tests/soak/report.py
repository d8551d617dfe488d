"""What a run did and what came of it: one JSON file for programs, one page for people."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cryobridge import __version__

from .bounds import WARMING_ROUNDS, WARMING_S
from .figures import QUANTITIES, course, kept
from .history import Acknowledged, Check, HealthAnswer, HookEnd, JobEnd, Level, Steady
from .history import Done as DoneDeed
from .invariants import INVARIANTS, undisturbed
from .run import SKIPPED, Outcome

ROLES = ("daemon", "worker")
COURSE = ("first", "last", "least", "most", "slope", "followed_s", "processes")
KEPT = ("first", "last", "slope", "rounds")
_STYLE = (
    "body{font:15px/1.5 system-ui;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
    ".bad{color:#b00020}svg{background:#fafafa;border:1px solid #ddd}"
)


def write_report(outcome: Outcome, folder: Path) -> Path:
    """Write `soak.json` and `soak.html`; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = summary(outcome)
    (folder / "soak.json").write_text(json.dumps(facts, indent=2) + "\n")
    page = folder / "soak.html"
    page.write_text(_page(facts, outcome), errors="backslashreplace")
    return page


def summary(outcome: Outcome) -> dict[str, Any]:
    """All figures of a run, as plain values."""
    history = outcome.history
    hooks, ends, health = (history.all_of(kind) for kind in (HookEnd, JobEnd, HealthAnswer))
    let = sorted((answer.seconds, answer.at_s) for answer in undisturbed(history) if not answer.error)
    return {
        "seed": outcome.seed,
        "minutes": round(outcome.seconds / 60, 3),
        "replay": replay(outcome),
        "version": __version__,
        "python": platform.python_version(),
        "violations": [dataclasses.asdict(found) for found in outcome.violations],
        "deeds": _deeds(history.all_of(DoneDeed)),
        "calls": {
            "ended": len(hooks),
            "killed by us": sum(hook.wounded for hook in hooks),
            "corrected": sum(hook.made == "corrected" for hook in hooks),
            "standard": sum(hook.made == "standard" for hook in hooks),
            "longest_s": max((hook.seconds - hook.held_s for hook in hooks if not hook.wounded), default=0.0),
        },
        "jobs": {
            "acknowledged": len({job.job_id for job in history.all_of(Acknowledged)}),
            **Counter(end.state for end in ends),
            "attempted again": sum(end.attempts > 1 for end in ends),
        },
        "health": {
            "asked": len(health),
            "answered": sum(not answer.error for answer in health),
            "while no deed kept it from answering": len(let),
            "median_s": let[len(let) // 2][0] if let else None,
            "longest_s": let[-1][0] if let else None,
            "longest at_s": let[-1][1] if let else None,
        },
        "looked at": dict(Counter(check.invariant for check in history.all_of(Check))),
        "processes": _courses(history.all_of(Level)),
        "calm rounds": len({one.round for one in history.all_of(Steady)}),
        "in the calm": _kept(history.all_of(Steady)),
    }


def replay(outcome: Outcome) -> str:
    """The command that makes the same schedule again."""
    return f"make soak MINUTES={outcome.seconds / 60:g} SEED={outcome.seed}"


def _deeds(done: Iterable[DoneDeed]) -> dict[str, dict[str, Any]]:
    found: dict[str, list[DoneDeed]] = defaultdict(list)
    for one in done:
        found[one.deed].append(one)
    rows = {}
    for name, ones in sorted(found.items()):
        skipped = [one.outcome for one in ones if one.outcome.startswith(SKIPPED)]
        rows[name] = {"done": len(ones) - len(skipped), "skipped": len(skipped)}
        if skipped:
            rows[name]["because"] = skipped[0].removeprefix(SKIPPED)
    return rows


def _courses(levels: Sequence[Level]) -> dict[str, dict[str, Any]]:
    rows = {}
    for role in ROLES:
        for name, quantity in QUANTITIES.items():
            found = course(levels, role, quantity)
            if found is not None:
                rows[f"{role}: {name}"] = dataclasses.asdict(found)
    return rows


def _kept(seen: Sequence[Steady]) -> dict[str, dict[str, Any]]:
    return {
        f"{role} {pid}: {name}": dataclasses.asdict(life)
        for role in ROLES
        for name, quantity in QUANTITIES.items()
        for pid, life in kept(seen, role, quantity).items()
    }


# ---- the page


def _page(facts: dict[str, Any], outcome: Outcome) -> str:
    count = len(facts["violations"])
    verdict = "No violation." if not count else f"{count} violations."
    parts = [
        f"<!doctype html><meta charset=utf-8><title>Soak, seed {facts['seed']}</title><style>{_STYLE}</style>",
        f"<h1>Soak: {facts['minutes']:g} minutes, seed {facts['seed']}</h1>",
        f"<p class={'bad' if count else 'good'}><b>{verdict}</b></p>",
        f"<p>The same schedule again: <code>{facts['replay']}</code></p>",
        _violations(facts["violations"]),
        "<h2>What was done</h2>",
        _table(
            ("deed", "done", "skipped"),
            [
                (name, row["done"], f"{row['skipped']}: {row['because']}" if row["skipped"] else "")
                for name, row in facts["deeds"].items()
            ],
        ),
        "<h2>What came of it</h2>",
        *(_table((name, ""), facts[name].items()) for name in ("calls", "jobs", "health", "looked at")),
        "<h2>Memory, descriptors, threads</h2>",
        "<p>One slope over all processes of a kind that lived long: from the first third of each life to the last, "
        f"of the least or of the median, whichever grows less, without the first {WARMING_S['daemon']:.0f} s "
        f"({WARMING_S['worker']:.0f} s of a worker).</p>",
        _table(
            ("", "first", "last", "least", "most", "slope a minute", "followed for (s)", "processes"),
            [(name, *(_number(row[key]) for key in COURSE)) for name, row in facts["processes"].items()],
        ),
        f"<p>In the calm at the end, over {facts['calm rounds']} rounds of a refinement and a job of each flavour, "
        f"without the first {WARMING_ROUNDS}: the median slope over all pairs of rounds.</p>",
        _table(
            ("", "first", "last", "slope a round", "rounds"),
            [(name, *(_number(row[key]) for key in KEPT)) for name, row in facts["in the calm"].items()],
        ),
        *(
            _curve(outcome.history.all_of(Level), role, name)
            for role in ROLES
            for name in ("memory (MB)", "descriptors")
        ),
        f"<h2>What must hold</h2><ul>{''.join(f'<li>{escape(name)}' for name in INVARIANTS)}</ul>",
    ]
    return "\n".join(parts) + "\n"


def _violations(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return ""
    rows = [(f"{one['at_s']:.1f}", one["invariant"], one["text"]) for one in found]
    return _table(("at (s)", "what should hold", "what was"), rows)


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{escape(str(cell))}' for cell in head)}"]
    lines += [f"<tr>{''.join(f'<td>{escape(str(cell))}' for cell in row)}" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _number(value: object) -> str:
    return "too short" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _curve(levels: Sequence[Level], role: str, name: str, width: int = 860, height: int = 150) -> str:
    """One quantity over time as a picture; every process is a line of its own."""
    lives: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for level in levels:
        if level.role == role:
            lives[level.pid].append((level.at_s, QUANTITIES[name](level)))
    if not lives:
        return ""
    most_s = max(at_s for life in lives.values() for at_s, _ in life) or 1.0
    most = max(value for life in lives.values() for _, value in life) or 1.0
    lines = []
    for life in lives.values():
        points = " ".join(
            f"{width * at_s / most_s:.1f},{height * (1 - 0.95 * value / most):.1f}" for at_s, value in life
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="#06c"/>')
    title = f"{role}: {name} over {most_s / 60:.1f} minutes, at most {most:.0f}"
    return f"<p>{escape(title)}</p><svg width={width} height={height}>{''.join(lines)}</svg>"
