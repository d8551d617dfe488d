"""Words from outside made fit for a terminal or a log."""

from __future__ import annotations


def printable(cell: object) -> str:
    """A value as one line for a person; control characters of foreign names do not reach the terminal."""
    if cell is None or cell == "":
        return "-"
    return "".join(character if character.isprintable() else "?" for character in str(cell))
