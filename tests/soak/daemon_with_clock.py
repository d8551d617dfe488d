"""The real daemon, whose clock is shifted by as many seconds as a file says: `daemon_with_clock.py FILE [options]`.

Only the time of day moves, as after a bad NTP server or a dead battery; the machine's own clock is left alone.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

SHIFT = struct.Struct("<d")
"""What the file holds: seconds."""


def shift_clock(path: Path) -> None:
    """Have this process read the time of day with the file's shift, whenever it changes."""
    with path.open("rb") as file:
        seen = mmap.mmap(file.fileno(), SHIFT.size, access=mmap.ACCESS_READ)
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + SHIFT.unpack(seen[:])[0]
    time.time_ns = lambda: real_ns() + int(SHIFT.unpack(seen[:])[0] * 1e9)


if __name__ == "__main__":
    shift_clock(Path(sys.argv[1]))
    from cryobridge.bridge.daemon.__main__ import main

    sys.exit(main(sys.argv[2:]))
