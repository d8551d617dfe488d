"""The daemon as systemd starts it, with its socket passed: `launched FD quick|real --socket S --config C`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cryobridge.bridge.daemon.start import run
from cryobridge.bridge.pool.place import spawner
from cryobridge.schemas.config import load

PASSED_FD = 3


def main() -> int:
    """Put the socket and the variables where systemd would, then be the daemon."""
    fd, workers, socket, config = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    if fd != PASSED_FD:
        os.dup2(fd, PASSED_FD)
        os.close(fd)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
    quick = spawner((sys.executable, "-m", "kills.worker"))
    return run(load(config, options={"socket": socket}), spawn=quick if workers == "quick" else None)


if __name__ == "__main__":
    sys.exit(main())
