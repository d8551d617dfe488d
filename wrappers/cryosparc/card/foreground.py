"""One card run from a terminal: the same as an agent does, with an eye of its own on the card's status."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError, InputInvalid, JobRejected

from ..daemon import JobDaemon
from ..documents import ENDED, CardId
from ..patience import CardPatience
from ..server import CryosparcServer
from ..standing import standing
from .card_run import CardRun, CardSurroundings, End
from .memory import Memory

LOOK_EVERY_S = 10.0


def check_finished(server: CryosparcServer, project: str, jobs: Iterable[str]) -> None:
    """Look whether jobs have come to an end: here nobody waits for them, as the agent does.

    Raises
    ------
    InputInvalid
        If one has not.
    """
    for job in jobs:
        card = CardId(project, job)
        status = server.status(card)
        if status not in ENDED:
            raise InputInvalid(
                f"{card} is {status}; run this again when it has finished, or make a card, which waits for it "
                "(cryobridge cryosparc card)"
            )


def run_card(
    server: CryosparcServer, daemon: JobDaemon, memory: Memory, card: CardId, also_read: Sequence[Path] = ()
) -> End:
    """Bring a card to its end.

    Parameters
    ----------
    also_read
        Folders outside of the project that links may lead to.

    Raises
    ------
    JobRejected
        If another process works on it.
    """
    looking = _Looking(server, card)
    around = CardSurroundings(server, daemon, memory, CardPatience(), looking.status_of, also_read)
    with memory.held(card) as held:
        if held is None:
            raise JobRejected(f"{card} is worked on by another process of this user")
        looking.start()
        try:
            return CardRun(around, held).run()
        finally:
            looking.end()


class _Looking(threading.Thread):
    """Asks for the status of one card now and then."""

    def __init__(self, server: CryosparcServer, card: CardId) -> None:
        super().__init__(name=f"status of {card}", daemon=True)
        self._server = server
        self._card = card
        self._ended = threading.Event()
        self._known: tuple[str, float] | None = None

    def run(self) -> None:
        """Ask until it is ended."""
        while not self._ended.wait(LOOK_EVERY_S):
            asked_at = time.monotonic()
            try:
                self._known = (standing(self._server, self._card), asked_at)
            except CryobridgeError:
                continue

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def status_of(self, _: CardId) -> tuple[str, float] | None:
        """What was last heard."""
        return self._known
