"""Fifty kills with quick workers: nothing acknowledged is lost, and every call has its map."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from kills.journal import CallOver, JobOver, Killed, Ready, of
from kills.report import write_report
from kills.run import run

pytestmark = [pytest.mark.faults, pytest.mark.slow]

KILLS = 50
SEED = "CRYOBRIDGE_KILL_SEED"


@pytest.mark.timeout(1200)
def test_nothing_is_lost_in_fifty_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    outcome = run(seed, KILLS, tmp_path, real=False)
    told = "\n".join(f"at {one.at_s:.1f} s: {one.rule}: {one.text}" for one in outcome.violations)
    print(write_report([outcome], tmp_path))
    assert not outcome.violations, f"{told}\n{tmp_path}; the same draws again: {SEED}={seed}"
    # A run in which nothing happened would violate nothing.
    kills = of(outcome.entries, Killed)
    assert len(kills) == KILLS
    assert {one.target for one in kills} >= {"daemon", "worker"}
    assert {one.what for one in of(outcome.entries, Ready)} == {"daemon", "worker"}
    assert {one.made for one in of(outcome.entries, CallOver)} == {"standard", "corrected"}
    assert sum(one.state == "succeeded" for one in of(outcome.entries, JobOver)) > KILLS // 5
    assert any(one.attempts > 1 for one in of(outcome.entries, JobOver))
