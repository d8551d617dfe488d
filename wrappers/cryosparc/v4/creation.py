"""Whether a card was made whose answer was lost, on a server that cannot be searched (CryoSPARC 4).

What can be looked at are the project's folder and jobs by their numbers. A job that was made since has a number above
all that were there before, so each of those is looked at until several in a row are not there.

Not tried on a real instance: that numbers only go up is what is seen, not what is promised.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from ..documents import CardId
from ..server import ServerRefused
from .calls import Calls, answered
from .documents import Document
from .made_cards import Asked

_JOB_FOLDER = re.compile(r"J([1-9][0-9]{0,8})")
_MOST_JOBS = 200
_MISSES = 5
"""So many numbers in a row without a job are taken for the end; one that was deleted may have left a gap."""


def newest_job(calls: Calls, project: str) -> int | None:
    """The highest number of a job that has a folder; 0 where there is none, None where it cannot be known."""
    try:
        with answered(f"{project}: its folder cannot be listed"):
            paths = calls.vis("list_project_files", project_uid=project, prefix="", recursive=False)
            tops = [PurePosixPath(str(path)).parts[:1] for path in paths]
    except ServerRefused:
        return None
    numbers = [int(found[1]) for top in tops for found in map(_JOB_FOLDER.fullmatch, top) if found]
    return max(numbers, default=0)


def found_again(
    document_of: Callable[[CardId], Document], newest_of: Callable[[str], int | None], asked: Asked
) -> CardId | None:
    """The card that was asked for; None if it was not made.

    Parameters
    ----------
    document_of
        The document of a job; raises `ServerRefused` where there is none.
    newest_of
        As `newest_job`.

    Raises
    ------
    ServerRefused
        If it cannot be known.
    Unreachable, NotLoggedIn
        If the server cannot be asked now.
    """
    after = asked.after
    if after is None or (after and not _is_there(document_of, CardId(asked.project, f"J{after}"))):
        raise ServerRefused(_unknown(asked))
    top, misses = newest_of(asked.project) or 0, 0
    for number in range(after + 1, after + 1 + _MOST_JOBS):
        card = CardId(asked.project, f"J{number}")
        try:
            document = document_of(card)
        except ServerRefused:
            misses += 1
            if misses >= _MISSES and number >= top:
                return None
            continue
        misses = 0
        if asked.mark in (document.get("description") or ""):
            return card
    raise ServerRefused(_unknown(asked))


def _unknown(asked: Asked) -> str:
    """What a user has to look for."""
    marked = f" that has '{asked.mark}' in its description" if asked.mark else ""
    return (
        f"whether a card was made in {asked.workspace} of {asked.project} is not known, since the answer was lost; "
        f"look there for a new external job '{asked.title}'{marked} and delete it, then ask again"
    )


def _is_there(document_of: Callable[[CardId], Document], card: CardId) -> bool:
    try:
        document_of(card)
    except ServerRefused:
        return False
    return True
