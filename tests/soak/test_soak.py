"""A short soak with a fixed seed: a minute of everything that can befall the service, and no invariant violated."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak.report import write_report
from soak.run import run

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SEED, SECONDS = 1, 60.0


@pytest.mark.timeout(1200)
def test_nothing_is_violated_in_a_minute_of_everything(tmp_path: Path) -> None:
    outcome = run(SEED, SECONDS, tmp_path / "logs")
    page = write_report(outcome, tmp_path)
    assert not outcome.violations, f"{page}\n" + "\n".join(f"{one.invariant}: {one.text}" for one in outcome.violations)
