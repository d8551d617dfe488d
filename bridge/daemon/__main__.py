"""`python -I -m cryobridge.bridge.daemon [--autospawned] [--socket PATH] [--config FILE]`: starts the daemon."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..interrupted import ended_by_ctrl_c


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run; Ctrl-C while it still loads ends it in one line."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return ended_by_ctrl_c("the daemon had not begun")


def _run(arguments: Sequence[str] | None) -> int:
    from cryobridge.schemas.config import load
    from cryobridge.schemas.errors import CryobridgeError
    from cryobridge.schemas.wire import EXIT_USAGE

    from .start import run

    parser = argparse.ArgumentParser(prog="cryobridge serve", description="Run the cryobridge daemon.")
    parser.add_argument("--socket", type=Path, help="where to listen (default: your own socket)")
    parser.add_argument("--config", type=Path, help="YAML file (default: $CRYOBRIDGE_CONFIG)")
    parser.add_argument("--devices", help="auto, or a comma-separated list such as cpu or cuda:0,cuda:1")
    parser.add_argument("--state-dir", type=Path, help="folder for the database and logs")
    parser.add_argument("--autospawned", action="store_true", help="leave when nobody needs it")
    parser.add_argument("--jobs-only", action="store_true", default=None, help="run jobs on the machine's devices only")
    chosen = parser.parse_args(arguments)
    options: dict[str, Any] = {
        key: getattr(chosen, key)
        for key in ("socket", "devices", "state_dir", "jobs_only")
        if getattr(chosen, key) is not None
    }
    try:
        loaded = load(chosen.config, options=options)
    except CryobridgeError as error:
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_USAGE
    return run(loaded, autospawned=chosen.autospawned)


if __name__ == "__main__":
    sys.exit(main())
