"""The status of a card, where it may have been deleted, and where something else may answer than CryoSPARC."""

from __future__ import annotations

from collections.abc import Callable

from .documents import GONE, STATUSES, CardId
from .sent_text import one_line
from .server import NOT_FOUND, CryosparcServer, ServerRefused, Unreachable


def standing(server: CryosparcServer, card: CardId) -> str:
    """Status of a card; `GONE` where the server has it no more, which is believed when two calls say so.

    Raises
    ------
    ServerRefused, Unreachable, NotLoggedIn
        If nothing can be known.
    """
    status = _asked(lambda: server.status(card)) or _asked(lambda: server.card(card).status) or GONE
    if status != GONE and status not in STATUSES:
        raise Unreachable(f"{card}: the server says that it is {one_line(status)[:80]!r}, which no job can be")
    return status


def _asked(call: Callable[[], str]) -> str | None:
    try:
        return call()
    except ServerRefused as error:
        if error.status == NOT_FOUND:
            return None
        raise
