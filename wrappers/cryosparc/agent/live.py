"""Sessions of CryoSPARC Live: whenever one has a better map, a card that says how well each direction is measured.

Whoever collects wants to know about preferred orientation while something can still be done about it. A session takes
part if its user gives it the agent's tag; it is only ever read. What was done is known from the cards themselves: each
carries the name of the version of the map that it was made for, so that a restart, a lost answer or a second agent
makes none twice.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryobridge.schemas.errors import CryobridgeError

from ..card.new_card import MadeFor, new_card
from ..documents import ACTIVE, BUILDING, Card, CardId, LiveSession, Source
from ..options_block import CardOptions, request_mark
from ..patience import CardPatience
from ..said_once import SaidOnce
from ..server import CryosparcServer
from ..standing import standing

log = logging.getLogger(__name__)

KIND = "map.diagnose"
LOOK_EVERY_S = 60.0
_SHORT = CardPatience(server_s=60.0, login_s=60.0)
"""Whatever is not done is tried again at the next look."""


@dataclass(frozen=True)
class _Made:
    """The last card of a session, the version of the map that it is for, and when this process saw it first."""

    card: CardId
    version: str
    at: float


class LiveWatch:
    """Makes cards for Live sessions.

    Parameters
    ----------
    projects
        Only these, whatever the server answers.
    tag
        Title of the tag that a session has to carry.
    every_s
        No session gets cards more often; versions of its map that come in between are left out.
    begin
        Takes a card that is to begin now, whatever its parents' status: a Live refinement runs as long as its session.
    at_work
        Whether a card was taken and has not ended.
    """

    def __init__(
        self,
        server: CryosparcServer,
        projects: Sequence[str],
        tag: str,
        every_s: float,
        begin: Callable[[CardId], None],
        at_work: Callable[[CardId], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._projects = tuple(projects)
        self._tag = tag.strip().lower()
        self._every_s = every_s
        self._begin = begin
        self._at_work = at_work
        self._clock = clock
        self._made: dict[tuple[str, str], _Made] = {}
        self._troubles: dict[tuple[str, str], SaidOnce] = {}
        self._trouble = SaidOnce("Live sessions can be looked at again", clock)
        self._thread: threading.Thread | None = None
        self._looked_at = float("-inf")

    def look_aside(self) -> None:
        """Look in a thread of its own, once a minute: making a card may take long, and others' cards must not wait."""
        due = self._clock() - self._looked_at >= LOOK_EVERY_S
        if due and (self._thread is None or not self._thread.is_alive()):
            self._looked_at = self._clock()
            # It may be cut off at any instant: what it makes, it finds again.
            self._thread = threading.Thread(target=self.look, name="Live sessions", daemon=True)
            self._thread.start()

    def look(self) -> None:
        """Look once at all sessions that are running."""
        try:
            sessions = self._opted_in()
            self._trouble.fine()
        except CryobridgeError as error:
            self._trouble.warn(f"Live sessions: {error}")
            return
        now = {_key(session) for session in sessions}
        self._made = {key: made for key, made in self._made.items() if key in now}
        self._troubles = {key: trouble for key, trouble in self._troubles.items() if key in now}
        for session in sessions:
            trouble = self._troubles.setdefault(_key(session), SaidOnce(f"{session.name}: goes on", self._clock))
            try:
                self._attend(session)
                trouble.fine()
            except CryobridgeError as error:
                trouble.warn(f"Live session {session.name} of {session.project}: {error}")

    def _opted_in(self) -> list[LiveSession]:
        found = [one for one in self._server.sessions(self._projects) if one.project in self._projects and one.tags]
        titles = self._server.tags() if found else {}
        return [one for one in found if self._tag in {titles.get(tag, "").strip().lower() for tag in one.tags}]

    def _attend(self, session: LiveSession) -> None:
        version = _version(session)
        made = self._made.get(_key(session))
        if not version or (made is not None and not self._is_due(made, version)):
            return
        cards = {name: card for card in self._server.find([session.project]) if (name := _made_for(card, session))}
        here = cards.get(version)
        busy = here or next((one for one in cards.values() if one.status in ACTIVE or self._at_work(one.id)), None)
        if busy is not None and (busy is not here or here.status != BUILDING or self._at_work(here.id)):
            self._note(session, busy.id, _made_for(busy, session))
            return
        # Also where it was begun and not finished: what is there is found and completed.
        card = self._new(session, version)
        self._note(session, card, version)
        log.info("%s: made for Live session %s", card, session.name)
        self._begin(card)

    def _is_due(self, made: _Made, version: str) -> bool:
        """Whether there is a new version, enough time has passed, and the last card is at its end."""
        if version == made.version or self._clock() - made.at < self._every_s:
            return False
        return not self._at_work(made.card) and standing(self._server, made.card) not in ACTIVE

    def _new(self, session: LiveSession, version: str) -> CardId:
        title = f"cryobridge: Live {session.name}, map of {session.particles} particles, {_time(session)}"
        about = (
            f"Made for the Live session {session.name} ({session.workspace}), from what {session.refinement} had "
            f"refined at {_time(session)}. No more are made once the session has the tag '{self._tag}' no more."
        )
        made_for = MadeFor(version, title, about)
        volume = {"volume": Source(session.refinement, "")}
        return new_card(
            self._server,
            session.project,
            session.workspace,
            CardOptions(KIND),
            volume,
            self._tag,
            _SHORT,
            made_for=made_for,
        )

    def _note(self, session: LiveSession, card: CardId, version: str) -> None:
        self._made[_key(session)] = _Made(card, version, self._clock())


def _key(session: LiveSession) -> tuple[str, str]:
    return session.project, session.workspace


def _time(session: LiveSession) -> str:
    return "" if session.refined_at is None else f"{session.refined_at:%Y-%m-%d %H:%M:%S}"


def _version(session: LiveSession) -> str:
    """Name of the map that a session has now; empty where it has none."""
    if not session.refinement or session.refined_at is None:
        return ""
    return f"live-{session.workspace}-{session.refinement}-{session.refined_at:%Y%m%dT%H%M%S.%f}"


def _made_for(card: Card, session: LiveSession) -> str:
    """The version of a session's map that a card was made for; empty where it was made for something else."""
    found = re.search(re.escape(request_mark(f"live-{session.workspace}-")) + r"\S+", card.description)
    return found[0].removeprefix(request_mark("")) if found and card.is_external else ""
