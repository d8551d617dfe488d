"""Who works on a card: a file in its folder that can be made only once.

A lost answer says nothing, so after every try the file is read back and its owner compared. A claim that was ended
stays; the next one (a card that was cleared and started again) has the next name.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ..documents import Card
from ..server import CONFLICT, CryosparcServer, ServerRefused, Unreachable

log = logging.getLogger(__name__)

FIRST_NAME = "bridge_claim.json"
_MOST = 200
_MOST_DAMAGED = 10
_MAX_BYTES = 10_000
_READINGS, _READING_PAUSE_S = 3, 0.5


@dataclass(frozen=True)
class Claim:
    """A claim as its file says.

    Attributes
    ----------
    owner
        Which agent.
    request
        Name of the request at the daemon.
    host
        Where the agent runs, for people.
    at
        When it was made, ISO 8601.
    ended
        When the work ended; empty while it goes on.
    """

    owner: str
    request: str
    host: str
    at: str
    ended: str = ""

    def as_bytes(self) -> bytes:
        """As the file holds it."""
        return json.dumps(vars(self), indent=1).encode() + b"\n"


@dataclass(frozen=True)
class Claimed:
    """What became of a try: the file's name, and whose claim it is."""

    name: str
    claim: Claim


def claim(
    server: CryosparcServer,
    card: Card,
    mine: Claim,
    is_over: Callable[[Claim], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Claimed:
    """Claim a card; the claim returned is `mine`, or that of whoever was faster.

    Parameters
    ----------
    is_over
        Whether a claim without an end is over all the same, e.g. one of our own of which nothing is left.

    Raises
    ------
    Unreachable
        If nothing can be known; asking again is safe.
    ServerRefused
        If the card's folder cannot be written to.
    """
    damaged = 0
    for number in range(1, _MOST):
        name = _name(number)
        _try(server, card, name, mine)
        found = read_claim(server, card, name, sleep)
        if found is None:
            # Empty or cut off: somebody's try of which only the beginning arrived. It can belong to nobody.
            damaged += 1
            if damaged > _MOST_DAMAGED:
                raise ServerRefused(f"{card.id}: what is written into its folder does not come back as it was ({name})")
            log.warning("%s: %s is damaged; claiming by the next name", card.id, name)
            continue
        is_mine = (found.owner, found.request) == (mine.owner, mine.request)
        if is_mine and (other := _later(server, card, number + 1, mine, is_over)) is not None:
            # It took so long to write that somebody held it for damaged, and has the next name.
            end_claim(server, card, Claimed(name, found))
            return other
        if is_mine or not (found.ended or is_over(found)):
            return Claimed(name, found)
    raise ServerRefused(f"{card.id}: has been claimed {_MOST} times; make a new card")


def read_claim(
    server: CryosparcServer, card: Card, name: str, sleep: Callable[[float], None] = time.sleep
) -> Claim | None:
    """A claim of a card; None where the file is not whole after some time, or not there."""
    for reading in range(_READINGS):
        found = _parsed(_read(server, card, name))
        if found is not None:
            return found
        if reading + 1 < _READINGS:
            sleep(_READING_PAUSE_S)
    return None


def end_claim(server: CryosparcServer, card: Card, claimed: Claimed) -> None:
    """Note that the work on a card ended."""
    ended = Claim(**{**vars(claimed.claim), "ended": moment()})
    server.upload(card.id, claimed.name, ended.as_bytes(), overwrite=True)


def moment() -> str:
    """Now, as claims have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _name(number: int) -> str:
    return FIRST_NAME if number == 1 else FIRST_NAME.replace(".json", f"_{number}.json")


def _later(
    server: CryosparcServer, card: Card, number: int, mine: Claim, is_over: Callable[[Claim], bool]
) -> Claimed | None:
    """Another's claim under the next name that goes on, or None."""
    found = _parsed(_read(server, card, _name(number)))
    if found is None or found.owner == mine.owner or found.ended or is_over(found):
        return None
    return Claimed(_name(number), found)


def _parsed(raw: bytes | None) -> Claim | None:
    try:
        values = json.loads(raw or b"")
        if isinstance(values, dict) and all(isinstance(value, str) for value in values.values()):
            return Claim(**values)
    except (ValueError, TypeError, RecursionError):
        pass
    return None


def _try(server: CryosparcServer, card: Card, name: str, mine: Claim) -> None:
    """Write the file if there is none; raises where there is none afterwards: the next name would leave this one free.

    Two agents would then have a claim each.
    """
    try:
        server.upload(card.id, name, mine.as_bytes(), overwrite=False)
    except Unreachable as error:
        if _read(server, card, name) is None:
            raise
        log.warning("%s; it arrived all the same, or another's is there", error)
    except ServerRefused as error:
        if error.status != CONFLICT and _read(server, card, name) is None:
            raise


def _read(server: CryosparcServer, card: Card, name: str) -> bytes | None:
    return server.read(card.id.project, f"{card.directory}/{name}", _MAX_BYTES)
