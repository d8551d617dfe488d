"""Text that came from outside, file names above all, made fit to be shown on a page or in a picture."""

from __future__ import annotations

import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Controls (line breaks, escapes), lone surrogates (bytes of a name that are no text), and format
# characters, some of which turn the direction of the text around them.
_UNFIT = {"Cc", "Cs", "Cf", "Co", "Cn", "Zl", "Zp"}


def printable(text: str) -> str:
    """Return the text with every character that is not there to be seen replaced by U+FFFD."""
    return "".join(_REPLACEMENT if unicodedata.category(character) in _UNFIT else character for character in text)


def shortened(text: str, longest: int) -> str:
    """Return the text with its middle left out where it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"
