"""`python -m cryobridge.wrappers.relion.demo`: starts the demo; Ctrl-C ends it in one line, also while it loads."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the demo; return its exit code."""
    try:
        from .command import run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command starts the demo anew\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
