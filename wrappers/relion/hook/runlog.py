"""Lines in RELION's log. Nothing here may fail: a closed or full log must not cost a refinement."""

from __future__ import annotations

import contextlib
import os

PREFIX = "cryobridge: "
_LONGEST = 600


def say(text: str, label: str = "") -> None:
    """Write one line, at once and whole, to standard output.

    Parameters
    ----------
    text
        What happened; control characters and line breaks become blanks.
    label
        Which call it is about, shown in brackets, because both halves write to one log.
    """
    clean = "".join(c if c.isprintable() else " " for c in text)[:_LONGEST].strip()
    line = PREFIX + clean + (f" [{label}]" if label else "") + "\n"
    # One write, so that the lines of the two halves do not mix.
    with contextlib.suppress(OSError):
        os.write(1, line.encode("utf-8", "replace"))
