"""`python -m kills [--kills N] [--real N] [--seed N] [--report FOLDER]`: exit status 1 on any violation."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path

from .report import write_report
from .run import run


def main() -> int:
    """Run with quick workers, then with real ones; report, and say where."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="of daemon and workers, all together")
    parser.add_argument("--real", type=int, default=None, help="so many of them with real workers; default: a tenth")
    parser.add_argument("--seed", type=int, default=None, help="of what is done; drawn and reported if not given")
    parser.add_argument("--report", type=Path, default=Path("kills-output"))
    chosen = parser.parse_args()
    # A run that is told to end still ends its daemon.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    real = chosen.real if chosen.real is not None else chosen.kills // 10
    print(f"seed {seed}, {chosen.kills} kills, {real} of them with real workers", flush=True)
    outcomes = []
    for kills, is_real in ((chosen.kills - real, False), (real, True)):
        if kills:
            outcomes.append(run(seed, kills, chosen.report, real=is_real))
    print(write_report(outcomes, chosen.report))
    found = [violation for outcome in outcomes for violation in outcome.violations]
    for violation in found:
        print(f"VIOLATION at {violation.at_s:.1f} s: {violation.rule}: {violation.text}")
    print(f"{len(found)} violations; {chosen.report}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
