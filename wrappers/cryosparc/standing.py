"""The status of a card, where it may have been deleted."""

from __future__ import annotations

from .documents import GONE, CardId
from .server import NOT_FOUND, CryosparcServer, ServerRefused


def standing(server: CryosparcServer, card: CardId) -> str:
    """Status of a card; `GONE` where the server has it no more.

    Raises
    ------
    ServerRefused, Unreachable, NotLoggedIn
        If nothing can be known.
    """
    try:
        return server.status(card)
    except ServerRefused as error:
        if error.status == NOT_FOUND:
            return GONE
        raise
