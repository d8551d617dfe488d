"""Time of day that jumps, and files from other centuries."""

from __future__ import annotations

import contextlib
import os
import random
import time

from ..stage import Stage
from .deed import Deed

YEAR_S = 365.25 * 86_400
SHIFTS_S = (10 * YEAR_S, -10 * YEAR_S, 3600.0, -3600.0, -1.0, 200 * YEAR_S)


def jumping_clock(stage: Stage, dice: random.Random) -> str:
    """The daemon's clock jumps, and jumps back; the machine's own is left alone."""
    shift_s = dice.choice(SHIFTS_S)
    stage.set_clock(shift_s)
    time.sleep(dice.uniform(1, 8))
    stage.set_clock(0.0)
    return f"by {shift_s / 86_400:g} days"


def odd_times(stage: Stage, dice: random.Random) -> str:
    """Files of a refinement and of the database's folder get odd times."""
    year_1902, year_2446 = -2.1e9, 1.5e10
    later = [path for path in (stage.folder / "projects").glob("*/Refine3D/*/run_it*_*") if "_it000_" not in path.name]
    chosen = [*dice.sample(sorted(later), min(5, len(later))), stage.state, stage.state / "daemon.log"]
    for path in chosen:
        when = dice.choice((year_1902, year_2446, 0.0))
        with contextlib.suppress(OSError, OverflowError):
            os.utime(path, (when, when))
    return f"{len(chosen)} files"


DEEDS = (
    Deed("a clock that jumps", jumping_clock, 2),
    Deed("files from other centuries", odd_times),
)
