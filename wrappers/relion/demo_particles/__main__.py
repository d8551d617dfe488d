"""`python -m cryobridge.wrappers.relion.demo_particles`: writes the project; Ctrl-C ends it in one line."""

from __future__ import annotations

import sys


def main() -> int:
    """Write the project; return the exit code."""
    try:
        from .command import run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command writes the project anew\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
