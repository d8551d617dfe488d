"""`python -m soak [--minutes N] [--seed N] [--report FOLDER]`: exit status 1 on any violation."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
from pathlib import Path

from .report import write_report
from .run import run


def main() -> int:
    """Run, report, and say where."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None, help="of the schedule; drawn and reported if not given")
    parser.add_argument("--report", type=Path, default=Path("soak-output"))
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # A run that is told to end still ends its daemon and unmounts its disk.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}, {chosen.minutes:g} minutes", flush=True)
    outcome = run(seed, 60.0 * chosen.minutes, chosen.report / "logs")
    page = write_report(outcome, chosen.report)
    for found in outcome.violations:
        print(f"VIOLATION at {found.at_s:.1f} s: {found.invariant}: {found.text}")
    print(f"{len(outcome.violations)} violations; {page}")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
