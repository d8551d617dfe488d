"""The real daemon with fake workers, as a process: `fake_daemon_main.py FAKE_WORKER [daemon options]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cryobridge.bridge.daemon.start import run
from cryobridge.bridge.pool.place import spawner
from cryobridge.schemas.config import load

parser = argparse.ArgumentParser()
parser.add_argument("worker")
parser.add_argument("--socket", type=Path)
parser.add_argument("--config", type=Path)
parser.add_argument("--autospawned", action="store_true")
chosen = parser.parse_args()
options = {"socket": chosen.socket} if chosen.socket else {}
sys.exit(
    run(
        load(chosen.config, options=options),
        autospawned=chosen.autospawned,
        spawn=spawner((sys.executable, chosen.worker)),
    )
)
