"""The command `cryobridge` as it is started: loads the commands, and ends in one line if Ctrl-C comes while it does."""

from __future__ import annotations

import os
import sys

from .interrupted import EXIT_INTERRUPTED, Interrupted, ended_by_ctrl_c


def run(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words[:1] in (["live"], ["ready"]):
            from .probe import is_probe, probe

            if is_probe(words):
                return probe(words[0], as_json="--json" in words)
        # Loading takes tenths of a second, in which Ctrl-C must not show where it struck.
        from .commands.program import answer

        return answer(arguments)
    except Interrupted as wish:
        return ended_by_ctrl_c(str(wish))
    except KeyboardInterrupt:
        return ended_by_ctrl_c()


def main() -> None:
    """Start the command from a shell."""
    code = run()
    if code == EXIT_INTERRUPTED:
        # Where Ctrl-C struck in the middle of an import, Python remembers it and would end by the signal all the same.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
