"""The agent: looks for cards that may begin, and brings each to its end, for as long as it runs.

It asks the server a few things every ten seconds, however many cards there are: which cards changed, how those that it
works on are, and how the parents of those that wait are (`card_watch`). A user's kill is seen there.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from cryobridge.schemas.errors import CryobridgeError, InputInvalid

from ..card.card_run import CardRun, CardSurroundings, End
from ..documents import CardId
from ..said_once import SaidOnce
from ..server import CryosparcServer, NotLoggedIn, Unreachable
from .card_watch import CardWatch
from .go_signs import DEFAULT_TAG
from .live import LiveWatch
from .token_watch import TokenWatch
from .turns import Turns

log = logging.getLogger(__name__)

POLL_S = 10.0
MOST_CARDS = 200
"""So many are worked on or wait in line at a time, shared by the projects; the others begin later."""
_SLICE_S = 0.5
"""So long a pause goes on after `stop`."""


@dataclass(frozen=True)
class AgentSettings:
    """What an agent looks after.

    Attributes
    ----------
    projects
        Only these.
    tag
        Title of the tag that starts a card, and of the one on Live sessions that are to be diagnosed.
    at_once
        Cards that use the daemon at the same time.
    poll_s
        So often the server is asked.
    live_every_s
        So often a Live session is diagnosed at most; None: not at all.
    """

    projects: tuple[str, ...]
    tag: str = DEFAULT_TAG
    at_once: int = 2
    poll_s: float = POLL_S
    live_every_s: float | None = None


class Agent:
    """Brings the cards of one server to their ends.

    Parameters
    ----------
    around
        What its cards have in common; `status_of`, `stopping`, `turn` and `sleep` are the agent's own.
    token_expires
        When the token expires that is stored now; None where none is needed.

    Raises
    ------
    InputInvalid
        If there is no project to look after, or Live sessions of a server that does not tell of them.
    """

    def __init__(
        self,
        settings: AgentSettings,
        around: CardSurroundings,
        clock: Callable[[], float] = time.monotonic,
        token_expires: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        if not settings.projects:
            raise InputInvalid("there is no project to look after; name one, e.g. --project P3")
        if settings.live_every_s is not None and not around.server.abilities.has_live_sessions:
            raise InputInvalid(
                f"CryoSPARC {around.server.version} does not tell of its Live sessions; leave --live out"
            )
        self._settings = settings
        self._clock = clock
        self._stopping = False
        self._around = replace(
            around,
            status_of=self._status_of,
            stopping=lambda: self._stopping,
            turn=Turns(settings.at_once),
            sleep=self._pause,
        )
        self._server: CryosparcServer = around.server
        self._watch = CardWatch(around.server, settings.projects, settings.tag, clock)
        self._token = TokenWatch(token_expires, f"cryobridge cryosparc login --url {around.server.url}")
        self._live = None if settings.live_every_s is None else self._live_watch(settings.live_every_s)
        self._trouble = SaidOnce(f"{around.server.url} answers again", clock)
        self._threads: dict[CardId, threading.Thread] = {}
        self._statuses: dict[CardId, tuple[str, float]] = {}
        self._asked: deque[CardId] = deque()
        self._ended: deque[tuple[CardId, datetime | None]] = deque()

    def run(self) -> None:
        """Work until `stop`; then leave every card so that the next agent goes on with it."""
        log.info("looks after %s at %s", ", ".join(self._settings.projects), self._server.url)
        while not self._stopping:
            begun = self._clock()
            try:
                self.look()
                self._trouble.fine()
            except NotLoggedIn as error:
                self._trouble.warn(str(error))
                self._log_in_again()
            except CryobridgeError as error:
                self._trouble.warn(str(error))
            except Exception:  # noqa: BLE001 - one look must not end all that are at work
                self._trouble.warn(f"looking for cards:\n{traceback.format_exc()}")
            self._pause(self._settings.poll_s - (self._clock() - begun))
        for thread in list(self._threads.values()):
            thread.join()

    def stop(self) -> None:
        """End soon; safe from a signal handler, which may not take a lock."""
        self._stopping = True

    def look(self) -> None:
        """Look once: at the cards that are worked on, at those that are left, and for new ones."""
        self._token.look()
        self._threads = {card: thread for card, thread in self._threads.items() if thread.is_alive()}
        while self._ended:
            self._watch.ended(*self._ended.popleft())
        if self._threads:
            asked_at = time.monotonic()
            found = self._watch.statuses(set(self._threads))
            self._statuses = {card: (status, asked_at) for card, status in found.items()}
        left = [card for card in self._around.memory.cards() if card.project in self._settings.projects]
        self._begin([*sorted(left, key=lambda card: (len(card.job), card.job)), *self._asked])
        self._begin(self._watch.look(set(self._threads)))
        if self._live is not None:
            self._live.look_aside()

    # ---- working

    def _begin(self, cards: Iterable[CardId]) -> None:
        """Begin with cards, a project's first before another's second; those beyond the bound are found again."""
        held = Counter(card.project for card in self._threads)
        share = max(1, MOST_CARDS // len(self._settings.projects))
        lines: Counter[str] = Counter()
        places = []
        for card in dict.fromkeys(cards):
            if card in self._threads:
                self._no_longer_asked(card)
                continue
            places.append((held[card.project] + lines[card.project], card))
            lines[card.project] += 1
        for place, card in sorted(places, key=lambda one: one[0]):
            if place < share and len(self._threads) < MOST_CARDS:
                self._no_longer_asked(card)
                self._start(card)

    def _start(self, card: CardId) -> None:
        thread = threading.Thread(target=self._work, args=(card,), name=str(card))
        self._threads[card] = thread
        self._watch.begun(card)
        thread.start()

    def _no_longer_asked(self, card: CardId) -> None:
        if card in self._asked:
            self._asked.remove(card)

    def _work(self, card: CardId) -> None:
        left_at = None
        try:
            with self._around.memory.held(card) as held:
                if held is None:
                    return
                end = CardRun(self._around, held).run()
                log.info("%s: %s", card, end.value)
            if end in (End.FAILED, End.TAKEN):
                left_at = self._changed_at(card)
        except (Unreachable, NotLoggedIn) as error:
            log.warning("%s: left for later: %s", card, error)
        except Exception:  # one card must not end the others
            log.exception("%s", card)
            left_at = self._changed_at(card)
        self._ended.append((card, left_at))

    def _changed_at(self, card: CardId) -> datetime | None:
        """When it changed last: it is not begun again before it changes."""
        try:
            return self._server.card(card).updated_at
        except CryobridgeError as error:
            log.warning("%s", error)
            return None

    def _status_of(self, card: CardId) -> tuple[str, float] | None:
        return self._statuses.get(card)

    def _pause(self, seconds: float) -> None:
        """Sleep, in short pieces: whoever ends this process does not wait for a long pause."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def _log_in_again(self) -> None:
        try:
            self._server.renew()
        except (CryobridgeError, OSError) as error:
            log.debug("%s", error)

    # ---- Live sessions

    def _live_watch(self, every_s: float) -> LiveWatch:
        settings, around = self._settings, self._around
        return LiveWatch(
            around.server, settings.projects, settings.tag, every_s, self._begin_soon, self._has, self._clock
        )

    def _begin_soon(self, card: CardId) -> None:
        self._asked.append(card)

    def _has(self, card: CardId) -> bool:
        return card in self._threads or card in self._asked
