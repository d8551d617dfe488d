"""The agent: looks for cards that may begin, and brings each to its end, for as long as it runs.

It asks the server a few things every ten seconds, however many cards there are: which cards changed, how those that it
works on are, and how the parents of those that wait are. A user's kill is seen there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryobridge.schemas.errors import CryobridgeError

from .card_run import CardRun, End, Surroundings
from .documents import BUILDING, Card, CardId
from .go_signs import DEFAULT_TAG, STILL_S, begins_by_itself, has_go_sign, is_ours, is_ready
from .server import NotLoggedIn, Server, Unreachable
from .turns import Turns

log = logging.getLogger(__name__)

POLL_S = 10.0
MOST_CARDS = 200
"""So many are worked on or wait in line at a time; the others begin later."""
_OVERLAP = timedelta(seconds=30)
"""Changes are asked for from a little before the last one that was seen."""


@dataclass(frozen=True)
class AgentSettings:
    """What an agent looks after.

    Attributes
    ----------
    projects
        Only these.
    tag
        Title of the tag that starts a card.
    at_once
        Cards that use the daemon at the same time.
    """

    projects: tuple[str, ...]
    tag: str = DEFAULT_TAG
    at_once: int = 2
    poll_s: float = POLL_S


@dataclass
class _Seen:
    card: Card
    since: float


class Agent:
    """Brings the cards of one server to their ends.

    Parameters
    ----------
    around
        What its cards have in common; `status_of`, `stopping` and `turn` are the agent's own.
    """

    def __init__(
        self, settings: AgentSettings, around: Surroundings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._stop = threading.Event()
        self._around = replace(
            around, status_of=self._status_of, stopping=self._stop.is_set, turn=Turns(settings.at_once)
        )
        self._server: Server = around.server
        self._threads: dict[CardId, threading.Thread] = {}
        self._statuses: dict[CardId, tuple[str, float]] = {}
        self._waiting: dict[CardId, _Seen] = {}
        self._done_with: dict[CardId, datetime] = {}
        self._tags: dict[str, str] | None = None
        self._newest: datetime | None = None

    def run(self) -> None:
        """Work until `stop`; then leave every card so that the next agent goes on with it."""
        log.info("looks after %s at %s", ", ".join(self._settings.projects), self._server.url)
        while not self._stop.is_set():
            begun = self._clock()
            try:
                self.look()
            except NotLoggedIn as error:
                log.warning("%s", error)
                self._log_in_again()
            except CryobridgeError as error:
                log.warning("%s", error)
            self._stop.wait(max(0.0, self._settings.poll_s - (self._clock() - begun)))
        for thread in list(self._threads.values()):
            thread.join()

    def stop(self) -> None:
        """End soon; safe from a signal handler."""
        self._stop.set()

    def look(self) -> None:
        """Look once: at the cards that are worked on, at those that are left, and for new ones."""
        self._threads = {card: thread for card, thread in self._threads.items() if thread.is_alive()}
        working = set(self._threads)
        if working:
            asked_at = time.monotonic()
            found = self._server.find(self._projects_of(working), jobs=working)
            self._statuses = {card.id: (card.status, asked_at) for card in found}
        for card in self._around.memory.cards():
            if card.project in self._settings.projects:
                self._begin(card)
        self._see_changes()
        for card in self._ready():
            self._begin(card)

    # ---- looking

    def _see_changes(self) -> None:
        changed = self._server.find(
            self._settings.projects,
            statuses=[BUILDING],
            since=None if self._newest is None else self._newest - _OVERLAP,
        )
        for card in changed:
            self._newest = card.updated_at if self._newest is None else max(self._newest, card.updated_at)
            known = self._waiting.get(card.id)
            if not is_ours(card):
                self._waiting.pop(card.id, None)
            elif known is None or known.card.updated_at != card.updated_at:
                self._waiting[card.id] = _Seen(card, self._clock())

    def _ready(self) -> list[CardId]:
        """Cards with a go sign, and those that begin by themselves and may."""
        now, go, may = self._clock(), [], []
        for seen in list(self._waiting.values()):
            card = seen.card
            if self._done_with.get(card.id) == card.updated_at or card.id in self._threads:
                continue
            if has_go_sign(card, self._known_tags(card), self._settings.tag):
                go.append(card.id)
            elif now - seen.since >= STILL_S and begins_by_itself(card):
                may.append(card)
        if may:
            parents = {CardId(card.id.project, parent) for card in may for parent in card.parents}
            found = self._server.find(self._projects_of(parents), jobs=parents, external=False) if parents else []
            statuses = {one.id: one.status for one in found}
            go += [card.id for card in may if is_ready(card, statuses.get)]
        return go

    def _known_tags(self, card: Card) -> dict[str, str]:
        """Titles of tags; asked for again only where a card has one that is not known."""
        if self._tags is None or (card.tags and not set(card.tags) <= set(self._tags)):
            self._tags = dict.fromkeys(card.tags, "") | self._server.tags()
        return self._tags

    def _projects_of(self, cards: set[CardId]) -> Sequence[str]:
        return sorted({card.project for card in cards})

    # ---- working

    def _begin(self, card: CardId) -> None:
        if card in self._threads or len(self._threads) >= MOST_CARDS:
            return
        thread = threading.Thread(target=self._work, args=(card,), name=str(card))
        self._threads[card] = thread
        # It comes back when it is seen to wait again.
        self._waiting.pop(card, None)
        thread.start()

    def _work(self, card: CardId) -> None:
        try:
            with self._around.memory.held(card) as held:
                if held is None:
                    return
                end = CardRun(self._around, held).run()
                log.info("%s: %s", card, end.value)
                if end in (End.FAILED, End.TAKEN):
                    self._leave_until_changed(card)
        except (Unreachable, NotLoggedIn) as error:
            log.warning("%s: left for later: %s", card, error)
        except Exception:  # one card must not end the others
            log.exception("%s", card)
            self._leave_until_changed(card)

    def _leave_until_changed(self, card: CardId) -> None:
        try:
            self._done_with[card] = self._server.card(card).updated_at
        except CryobridgeError as error:
            log.warning("%s", error)

    def _status_of(self, card: CardId) -> tuple[str, float] | None:
        return self._statuses.get(card)

    def _log_in_again(self) -> None:
        try:
            self._server.renew()
        except CryobridgeError as error:
            log.warning("%s", error)
