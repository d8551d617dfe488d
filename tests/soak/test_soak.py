"""A short soak with a fixed seed: every deed at least once, and no invariant violated."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak.deeds import DEEDS
from soak.history import Done, HookEnd, JobEnd
from soak.report import replay, write_report
from soak.run import run

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SEED, SECONDS = 3, 75.0
"""The first round of the schedule, in which every deed comes."""
ROUNDS = 1
"""Of the calm at its end: enough to see that all is well again; what is kept of a round is seen over more of them."""


@pytest.mark.timeout(1500)
def test_nothing_is_violated_in_a_minute_of_everything(tmp_path: Path) -> None:
    outcome = run(SEED, SECONDS, tmp_path / "logs", rounds=ROUNDS)
    page = write_report(outcome, tmp_path)
    told = "\n".join(f"at {one.at_s:.1f} s: {one.invariant}: {one.text}" for one in outcome.violations)
    assert not outcome.violations, f"{told}\n{page}, with logs beside it; again: {replay(outcome)}"
    # A run in which nothing happened would violate nothing.
    assert {done.deed for done in outcome.history.all_of(Done)} == set(DEEDS)
    assert {"standard", "corrected"} <= {hook.made for hook in outcome.history.all_of(HookEnd)}
    assert any(end.state == "succeeded" for end in outcome.history.all_of(JobEnd))
