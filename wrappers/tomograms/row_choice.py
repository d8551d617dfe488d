"""Which rows of a table are meant by the indices that a user gives."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

_LONGEST = 9


def chosen_indices(text: str, known: Collection[str], path: Path) -> set[str]:
    """The indices of a table that a user means.

    Parameters
    ----------
    text
        Indices and ranges: `1,2,4`, `5-10,15`; tuples as IsoNet takes them, `(1, 2)`.
    known
        All indices of the table.
    path
        The table, for messages.

    Raises
    ------
    InputInvalid
        If an index is not in the table, or the text is no list of them.
    """
    wanted: set[str] = set()
    for part in text.strip(" ()[]").replace(",", " ").split():
        first, dash, last = part.partition("-")
        if part in known:
            wanted.add(part)
        elif dash and _is_number(first) and _is_number(last):
            # Rows may have been deleted, so that a range has gaps.
            wanted |= {index for index in known if _is_number(index) and int(first) <= int(index) <= int(last)}
        elif not _is_number(part):
            raise InputInvalid(f"{path}: tomo_idx '{text[:60]}' is no list of indices; write e.g. 1,2,4 or 5-10,15")
        else:
            raise InputInvalid(f"{path}: has no tomogram of index {part[:20]}; its rlnIndex are {_listed(known)}")
    if not wanted:
        raise InputInvalid(f"{path}: has no tomogram of tomo_idx '{text[:60]}'; its rlnIndex are {_listed(known)}")
    return wanted


def _listed(known: Collection[str]) -> str:
    shown = sorted(known, key=lambda index: (len(index), index))
    return ", ".join(shown[:12]) + (" ..." if len(shown) > 12 else "")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST
