"""Text as it can be sent: valid whatever file names it holds, and not longer than its way bears."""

from __future__ import annotations

MAX_LINE = 400
"""Titles and errors travel in the URL, which proxies cut and the client refuses when it is long."""
MAX_TEXT = 10_000
_CUT = "\n[...]\n"


def one_line(text: str) -> str:
    """A text as one line of at most `MAX_LINE` characters."""
    line = " ".join(sendable(text).split())
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 3]}..."


def bounded(text: str) -> str:
    """A text of at most `MAX_TEXT` characters: its begin and its end, where a traceback says what happened."""
    text = sendable(text)
    if len(text) <= MAX_TEXT:
        return text
    half = (MAX_TEXT - len(_CUT)) // 2
    return f"{text[:half]}{_CUT}{text[-half:]}"


def sendable(text: str) -> str:
    """A text without what no server can take: half characters (names of files that are no UTF-8), control characters.

    They become question marks.
    """
    whole = text.encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _plain(letter) for letter in whole)


def _plain(letter: str) -> str:
    """Spaces and ends of lines of other sorts as plain ones; what cannot be seen as a question mark."""
    if letter in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029":
        return "\n"
    return " " if letter.isspace() else letter if ord(letter) > 0x9F else "?"
