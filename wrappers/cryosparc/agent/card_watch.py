"""What is looked for on a server: cards that changed, which of them may begin, and how those at work are.

One call finds what changed, however many cards there are; one more asks for the parents of cards that wait for them.
Everything that is kept is bounded by what waits now: an agent runs for months.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..card.telling import Telling
from ..documents import BUILDING, Card, CardId
from ..said_once import SaidOnce
from ..server import CryosparcServer, ServerRefused
from ..standing import standing
from .go_signs import AGAIN_S, STILL_S, begins_by_itself, has_go_sign, is_ours, lacks_inputs, parents_of, waits_for

log = logging.getLogger(__name__)

WHOLE_LOOK_S = 300.0
"""So often all is looked at, not what changed only: the server's clock may go back, tags may be called otherwise."""
_OVERLAP = timedelta(seconds=30)
"""Changes are asked for from a little before the last one that was seen."""
_MOST_TRIED = 2000


@dataclass
class _Seen:
    """A card that waits, since when it has not changed, and what was said on it last."""

    card: Card
    since: float
    said: str = ""


@dataclass
class _Tried:
    """A card that was worked on: as it was then, and when it had changed last when it was left."""

    as_it_was: object
    left_at: datetime | None = None


class CardWatch:
    """Looks at the cards of some projects. Not to be shared by threads.

    Parameters
    ----------
    projects
        Only these, whatever the server answers.
    tag
        Title of the tag that starts a card.
    """

    def __init__(
        self, server: CryosparcServer, projects: Sequence[str], tag: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._projects = tuple(projects)
        self._tag = tag
        self._clock = clock
        self._waiting: dict[CardId, _Seen] = {}
        self._tried: dict[CardId, _Tried] = {}
        self._stamps: dict[CardId, datetime] = {}
        self._newest: datetime | None = None
        self._whole_at = float("-inf")
        self._tags: dict[str, str] = {}
        self._tags_at = float("-inf")
        self._left_out: dict[str, float] = {}
        self._troubles = {one: SaidOnce(f"{one} can be looked at again", clock) for one in self._projects}

    def statuses(self, cards: Collection[CardId]) -> dict[CardId, str]:
        """Statuses of these cards, as far as they can be known; `GONE` for those that are deleted."""
        found = {card.id: card.status for card in self._find(_projects_of(cards), jobs=cards)} if cards else {}
        for card in set(cards) - set(found):
            try:
                found[card] = standing(self._server, card)
            except ServerRefused as error:
                self._troubles[card.project].warn(str(error))
        return found

    def look(self, at_work: Collection[CardId]) -> list[CardId]:
        """Look once; the cards that may begin."""
        self._see_changes()
        return self._ready(at_work)

    def begun(self, card: CardId) -> None:
        """It is worked on; it comes back when it is seen to wait again."""
        seen = self._waiting.pop(card, None)
        self._tried.pop(card, None)
        self._tried[card] = _Tried(None if seen is None else _contents(seen.card))
        for one in list(self._tried)[:-_MOST_TRIED]:
            del self._tried[one]

    def ended(self, card: CardId, left_at: datetime | None) -> None:
        """It is not worked on any more; it had changed last at that time, by the server's clock."""
        if card in self._tried:
            self._tried[card].left_at = left_at

    # ---- changes

    def _see_changes(self) -> None:
        now = self._clock()
        whole = self._newest is None or now - self._whole_at >= WHOLE_LOOK_S
        since = None if whole or self._newest is None else self._newest - _OVERLAP
        found = [
            card
            for card in self._find(self._projects, statuses=[BUILDING], since=since)
            if card.id.project in self._projects and card.status == BUILDING
        ]
        times = [card.updated_at for card in found if self._stamps.get(card.id) != card.updated_at]
        if whole:
            self._whole_at = now
            self._stamps = {card.id: card.updated_at for card in found}
            self._waiting = {card: seen for card, seen in self._waiting.items() if card in self._stamps}
            # A clock that went back, or one stamp of the future, would hide all that changes after it.
            self._newest = max(times, default=self._newest)
        else:
            self._stamps |= {card.id: card.updated_at for card in found}
            self._newest = max([*times, self._newest], default=None)  # type: ignore[type-var]
        for card in found:
            known = self._waiting.get(card.id)
            if not is_ours(card):
                self._waiting.pop(card.id, None)
            elif known is None or known.card.updated_at != card.updated_at:
                self._waiting[card.id] = _Seen(card, now, "" if known is None else known.said)

    # ---- what may begin

    def _ready(self, at_work: Collection[CardId]) -> list[CardId]:
        now, wanted = self._clock(), []
        for seen in list(self._waiting.values()):
            card = seen.card
            if card.id in at_work:
                continue
            told = has_go_sign(card, self._titles(card), self._tag)
            if not told and not begins_by_itself(card):
                # The next go sign is a new one.
                self._tried.pop(card.id, None)
            elif self._may_begin_again(seen) and (told or now - seen.since >= STILL_S):
                lacking = lacks_inputs(card) if told else lacks_inputs(card) or _complains(card)
                if lacking is None:
                    wanted.append(seen)
                elif told:
                    self._say(seen, lacking)
        return self._with_finished_parents(wanted)

    def _may_begin_again(self, seen: _Seen) -> bool:
        """Whether a card that was worked on was changed since, or left alone for a while after it was cleared."""
        tried = self._tried.get(seen.card.id)
        if tried is None:
            return True
        if tried.as_it_was is not None and tried.as_it_was != _contents(seen.card):
            return True
        return tried.left_at != seen.card.updated_at and self._clock() - seen.since >= AGAIN_S

    def _with_finished_parents(self, wanted: Sequence[_Seen]) -> list[CardId]:
        parents = {parent for seen in wanted for parent in parents_of(seen.card)}
        found = self._find(_projects_of(parents), jobs=parents, external=False) if parents else []
        statuses = {job.id: job.status for job in found}
        ready = []
        for seen in wanted:
            sentence = waits_for(seen.card, statuses.get)
            if sentence is None:
                ready.append(seen.card.id)
            elif seen.card.id.project not in self._left_out:
                self._say(seen, sentence)
        return ready

    def _say(self, seen: _Seen, sentence: str) -> None:
        """Say on a card what it waits for, once, in one line that changes."""
        if sentence != seen.said:
            seen.said = sentence
            Telling(self._server, seen.card.id).say(sentence, name="waits")

    def _titles(self, card: Card) -> dict[str, str]:
        """Titles of tags; asked for again now and then, and where a card has one that is not known."""
        now = self._clock()
        if card.tags and (now - self._tags_at >= WHOLE_LOOK_S or not set(card.tags) <= set(self._tags)):
            self._tags_at = now
            unknown = {tag: "" for seen in self._waiting.values() for tag in seen.card.tags}
            try:
                self._tags = unknown | self._server.tags()
            except ServerRefused as error:
                log.warning("%s", error)
                self._tags = unknown | self._tags
        return self._tags

    # ---- asking

    def _find(self, projects: Iterable[str], **what: Any) -> list[Card]:
        """Jobs of these projects; one that the server refuses is left out for a while, and does not hide the others.

        Raises
        ------
        ServerRefused
            If it refuses all of them.
        """
        now = self._clock()
        self._left_out = {one: until for one, until in self._left_out.items() if until > now}
        asked = [one for one in projects if one in self._troubles and one not in self._left_out]
        if not asked:
            return []
        try:
            found = self._server.find(asked, **what)
        except ServerRefused:
            return self._find_one_by_one(asked, **what)
        for one in asked:
            self._troubles[one].fine()
        return found

    def _find_one_by_one(self, projects: Sequence[str], **what: Any) -> list[Card]:
        found: list[Card] = []
        refused: dict[str, ServerRefused] = {}
        for project in projects:
            try:
                found += self._server.find([project], **what)
            except ServerRefused as error:
                refused[project] = error
        if len(refused) == len(projects):
            # The server may be in trouble, rather than the projects; it is asked again soon.
            raise next(iter(refused.values()))
        for project, why in refused.items():
            self._troubles[project].warn(f"{project}: left out for {WHOLE_LOOK_S / 60:.0f} min: {why}")
            self._left_out[project] = self._clock() + WHOLE_LOOK_S
        return found


def _projects_of(cards: Collection[CardId]) -> list[str]:
    return sorted({card.project for card in cards})


def _complains(card: Card) -> str | None:
    return "; ".join(card.complaints) or None


def _contents(card: Card) -> object:
    """What a user may have changed to have it done otherwise."""
    return card.title, card.description, card.tags, {name: one.sources for name, one in card.inputs.items()}
