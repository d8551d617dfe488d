"""The cards that a process knows of on a server that cannot be searched (CryoSPARC 4), and when to look at them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from ..documents import ENDED, CardId
from ..server import NOT_FOUND, NotLoggedIn, ServerRefused
from .creation import found_again
from .documents import Document
from .made_cards import Asked, MadeCards

log = logging.getLogger(__name__)

ENDED_EVERY_S = 300.0
"""Cards that have ended are looked at so often, for one that was cleared."""
REFUSED_S = 60.0
"""A job that cannot be read for so long is taken to be gone."""
OTHERS_S = 180.0
"""A card that another process asked for so long ago, and never heard of again, is looked for here."""


class KnownCards:
    """Cards of the notes, as this process has seen them.

    Parameters
    ----------
    document_of
        The document of a job; raises `ServerRefused` where there is none.
    newest_of
        As `creation.newest_job`.
    """

    def __init__(
        self, made: MadeCards, document_of: Callable[[CardId], Document], newest_of: Callable[[str], int | None]
    ) -> None:
        self._made = made
        self._document_of, self._newest_of = document_of, newest_of
        self._ended_at: dict[CardId, float] = {}
        self._last: dict[CardId, tuple[Document | None, float]] = {}
        self._asked: dict[str, Asked] = {}

    def due(self, projects: Collection[str]) -> list[CardId]:
        """Cards of these projects to look at now."""
        return [card for card in self._made.cards(projects) if self._is_due(card)]

    def seen(self, card: CardId) -> Document | None:
        """Look at a job, and note how it is; None where it is gone."""
        document: Document | None
        try:
            document = self._document_of(card)
            self._last[card] = (document, time.monotonic())
        except ServerRefused as error:
            document = self._last_known(card, error)
        if document is not None and document.get("deleted"):
            document = None
        if document is None or document.get("status") in ENDED:
            self._ended_at[card] = time.monotonic()
            self._made.has_ended(card)
        else:
            self._ended_at.pop(card, None)
            self._made.is_alive(card)
        return document

    @contextmanager
    def asking(self, asked: Asked) -> Iterator[Callable[[CardId], None]]:
        """Note that a card is asked for, before it is; give what notes that it is there.

        Whatever comes that is no answer leaves the note, for `settle`.
        """
        self._made.ask(asked)
        self._asked[asked.mark] = asked
        try:
            yield lambda card: self._answer(asked, card)
        except (ServerRefused, NotLoggedIn):
            self._answer(asked, None)
            raise

    def settle(self, projects: Collection[str]) -> None:
        """Find out what became of cards that were asked for without an answer.

        Raises
        ------
        ServerRefused
            If it cannot be known of one that this process asked for; in one sentence, what a user has to look for.
        """
        for asked in [one for one in self._asked.values() if one.project in projects]:
            self._look(asked)
        for asked, age_s in self._made.questions():
            if asked.project in projects and age_s > OTHERS_S:
                try:
                    self._look(asked)
                except ServerRefused as error:
                    log.warning("%s", error)

    def _last_known(self, card: CardId, error: ServerRefused) -> Document | None:
        """What a job was like before it could not be read; None once it has been so for long, or is known to be gone.

        How the server says that a job is gone is not known, and work must not be given up for a passing trouble.
        """
        log.debug("%s", error)
        document, at = self._last.get(card, (None, 0.0))
        if error.status != NOT_FOUND and time.monotonic() - at < REFUSED_S:
            return document
        self._last.pop(card, None)
        return None

    def _look(self, asked: Asked) -> None:
        try:
            self._answer(asked, found_again(self._document_of, self._newest_of, asked))
        except ServerRefused:
            self._answer(asked, None)
            raise

    def _answer(self, asked: Asked, card: CardId | None) -> None:
        if card is not None:
            self._made.add(card)
        self._asked.pop(asked.mark, None)
        self._made.answered(asked.mark)

    def _is_due(self, card: CardId) -> bool:
        ended_at = self._ended_at.get(card)
        return ended_at is None or time.monotonic() - ended_at >= ENDED_EVERY_S
