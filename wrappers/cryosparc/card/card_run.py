"""The life of one card from its claim to its end, in steps that can each be done again.

Whoever works on it may be killed at any instant. What is known is on disk (`memory`) before it matters, the daemon
knows the request by its name, outputs come out the same when they are saved twice; so the next process goes on where
this one was. Only a user's kill, or an end that somebody else gave the card, is final.
"""

from __future__ import annotations

import logging
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TypeVar

from cryobridge.schemas.errors import CryobridgeError, InputInvalid

from ..daemon import JobDaemon
from ..documents import ACTIVE, BUILDING, COMPLETED, ENDED, GONE, RUNNING, Card, CardId
from ..options_block import read_block
from ..patience import CardPatience, insist
from ..server import NOT_FOUND, CryosparcServer, NotLoggedIn, ServerRefused, Unreachable
from ..standing import standing
from .claim import Claim, Claimed, claim, end_claim, moment, read_claim
from .following import follow
from .inputs import missing_inputs
from .memory import HeldCard, Memory, Remembered
from .project_files import ProjectFiles
from .publishing import Publishing
from .request import Request, recipe_for, request_of
from .telling import Telling

log = logging.getLogger(__name__)
T = TypeVar("T")
_LAST_S = 15.0
"""So long a process that ends tries to say so to the server."""
Turn = Callable[[CardId, Callable[[int], None], bool], AbstractContextManager[None]]


class NotWanted(CryobridgeError):  # noqa: N818
    """The card was killed, cleared or ended by somebody else."""


class Left(CryobridgeError):  # noqa: N818
    """The process is to end; the next one goes on with the card."""


class End(Enum):
    """What became of a card in this process's hands."""

    COMPLETED = "completed"
    FAILED = "failed"
    NOT_WANTED = "not wanted any more"
    TAKEN = "taken by another agent"
    LEFT = "left for the next agent"


@dataclass
class CardSurroundings:
    """What the cards of one server have in common.

    Attributes
    ----------
    status_of
        The last known status of a card, and since when (`time.monotonic`) it is known; None where it is not.
    also_read
        Folders outside of projects that links may lead to.
    stopping
        Whether this process is to end; the card is then left to the next one.
    turn
        Waits until a card may use the daemon; meanwhile it calls a function with the card's place in the line, which
        raises where there is no point in waiting. Last, whether the daemon has its job already, so that it goes on.
    """

    server: CryosparcServer
    daemon: JobDaemon
    memory: Memory
    patience: CardPatience
    status_of: Callable[[CardId], tuple[str, float] | None]
    also_read: Sequence[Path] = ()
    stopping: Callable[[], bool] = lambda: False
    turn: Turn = lambda _card, _waiting, _resumed: nullcontext()
    sleep: Callable[[float], None] = time.sleep
    host: str = field(default_factory=socket.gethostname)


class CardRun:
    """One card in the hands of this process."""

    def __init__(self, around: CardSurroundings, held: HeldCard) -> None:
        self._around = around
        self._held = held
        self._card = held.card
        self._telling = Telling(around.server, held.card)
        self._active_since = float("inf")

    def run(self) -> End:
        """Bring the card to its end, or leave it so that another process can.

        Raises
        ------
        Unreachable, NotLoggedIn
            If the server was away for longer than patience lasts; the card is left as it is.
        """
        try:
            return self._run()
        except Left:
            return End.LEFT
        except NotWanted as why:
            return self._give_up(str(why))
        except (Unreachable, NotLoggedIn):
            raise
        except ServerRefused as error:
            return self._refused(str(error))
        except CryobridgeError as error:
            return self._fail(str(error))
        except BaseException as error:
            # Ctrl-C too: whoever gave it will not come back, and the card must not say "running" for ever.
            self._fail_at_last(error)
            raise

    # ---- steps

    def _run(self) -> End:
        around, new = self._around, self._held.known is None
        card = self._insist(self._found)
        # What was begun here and cannot be known any more is begun anew, rather than left running for ever.
        if new and card.status != BUILDING and not (self._held.was_damaged and card.status in ACTIVE):
            self._held.forget()
            return End.NOT_WANTED
        known = self._held.begin()
        if card.status in ENDED or (card.status == BUILDING and known.started):
            raise NotWanted(f"it is {card.status}")
        claimed = self._claimed(card, known)
        if claimed is None:
            self._held.forget()
            return End.TAKEN
        self._note(claim=claimed.name)
        if card.status == BUILDING:
            self._look_over(card)
        self._wait_officially(card)
        with around.turn(self._card, self._waiting, known.spec is not None):
            if card.status != RUNNING:
                self._insist(lambda: around.server.start(self._card, "running"))
            self._started()
            request = self._requested(card, claimed)
            self._note(spec=request.spec)
            follow(around.daemon, request.spec, around.patience, self._telling, self._check, around.sleep)
        for mark in self._published(card, request):
            self._note(published=(*self._known.published, mark))
        self._finish(card)
        return End.COMPLETED

    def _found(self) -> Card:
        try:
            return self._around.server.card(self._card)
        except ServerRefused as error:
            if error.status != NOT_FOUND:
                raise
            if standing(self._around.server, self._card) == GONE:
                raise NotWanted(f"it is {GONE}") from error
            raise Unreachable(f"{error}; but it is there") from error

    def _look_over(self, card: Card) -> None:
        """Say in our words what is wrong with a card, before the server does in its own."""
        lacking = missing_inputs(card, recipe_for(read_block(card.description).kind))
        if lacking:
            raise InputInvalid(f"{self._card}: {lacking[0]}; connect it, then start again")

    def _claimed(self, card: Card, known: Remembered) -> Claimed | None:
        """The card's claim, which is ours; None where another agent was faster."""
        around, owner = self._around, self._around.memory.owner
        if known.claim:
            old = self._insist(lambda: read_claim(around.server, card, known.claim, around.sleep))
            if old is not None and (old.owner, old.request) == (owner, known.request):
                return Claimed(known.claim, old)
        mine = Claim(owner, known.request, around.host, moment())
        # Of our own earlier claims nothing is left: there is one file for a card here, and this is it.
        found = self._insist(lambda: claim(around.server, card, mine, lambda other: other.owner == owner, around.sleep))
        if (found.claim.owner, found.claim.request) == (owner, known.request):
            return found
        log.info("%s is worked on by an agent on %s since %s", self._card, found.claim.host, found.claim.at)
        return None

    def _wait_officially(self, card: Card) -> None:
        """Mark it waiting, so that a user sees it is taken and can kill it; a server that refuses is asked later."""
        if card.status == BUILDING:
            try:
                self._insist(lambda: self._around.server.start(self._card, "waiting"))
            except ServerRefused as error:
                log.warning("%s", error)
                return
        self._started()

    def _started(self) -> None:
        self._active_since = time.monotonic()
        if not self._known.started:
            self._note(started=True)

    def _requested(self, card: Card, claimed: Claimed) -> Request:
        around = self._around
        files = self._insist(
            lambda: ProjectFiles(
                around.server, card, (claimed.name, claimed.claim.as_bytes()), self._work, around.also_read
            )
        )
        request = self._insist(lambda: request_of(around.server, card, files, self._known.request))
        if self._known.spec is None:
            self._telling.say("\n".join([f"{request.recipe.kind}, by cryobridge on {around.host}", *request.notes]))
        return request

    def _published(self, card: Card, request: Request) -> Iterator[str]:
        publishing = Publishing(self._around.server, card, request, self._telling, self._check, self._around.sleep)
        for mark, step in publishing.steps():
            if mark not in self._known.published:
                self._check()
                self._insist(step)
                yield mark

    def _finish(self, card: Card) -> None:
        """Mark it completed, if it is still at work: the client would mark a killed job completed, too."""
        server = self._around.server

        def once() -> None:
            status = standing(server, self._card)
            if status in ACTIVE:
                server.finish(self._card)
                self._check_ended()
            elif status != COMPLETED:
                raise NotWanted(f"it is {status}")

        self._telling.say("done")
        self._insist(once)
        self._end(card)

    # ---- ends

    def _refused(self, sentence: str) -> End:
        """Fail it, unless it is refused because somebody else ended the card: a kill is often seen so first."""
        try:
            status = self._insist(self._standing_at_last)
        except ServerRefused:
            return self._fail(sentence)
        over = status not in ACTIVE and (status != BUILDING or self._known.started)
        return self._give_up(f"it is {status}") if over else self._fail(sentence)

    def _fail_at_last(self, error: BaseException) -> None:
        """Mark it failed although this process ends; who pressed Ctrl-C does not wait for a server that is away."""
        patience, sentence = self._around.patience, "stopped where it ran (Ctrl-C, or its process was ended)"
        if isinstance(error, Exception):
            self._telling.say("".join(traceback.format_exception(error)), "error")
            sentence = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        else:
            patience = replace(patience, server_s=_LAST_S, login_s=_LAST_S)
        try:
            self._fail(sentence, patience)
        except (Unreachable, NotLoggedIn) as lost:
            log.warning("%s; the card cannot be marked failed, and is left as it is for an agent of this user", lost)

    def _fail(self, sentence: str, patience: CardPatience | None = None) -> End:
        """Mark it failed, if it is still at work."""
        server = self._around.server

        def once() -> None:
            status = self._standing_at_last()
            if status in ACTIVE or status == BUILDING:
                try:
                    server.fail(self._card, sentence)
                except ServerRefused as error:
                    self._check_ended(f"{error}, and ")
                    raise
                self._check_ended()

        self._telling.say(sentence, "error")
        try:
            self._insist(once, patience)
        except ServerRefused as error:
            # E.g. a card that cannot be started cannot be failed either; it says why in its log.
            log.warning("%s", error)
        self._cancel()
        self._end(None)
        return End.FAILED

    def _standing_at_last(self) -> str:
        """Its status; a card that was begun here is not forgotten because the server does not say how it is."""
        try:
            return standing(self._around.server, self._card)
        except ServerRefused as error:
            if self._known.started:
                raise Unreachable(str(error)) from error
            raise

    def _check_ended(self, why: str = "") -> None:
        """Raise where the card is at work although its end was sent: nothing else would ever end it."""
        status = standing(self._around.server, self._card)
        if status in ACTIVE:
            raise Unreachable(f"{why}{self._card}: is {status} although its end was sent")

    def _give_up(self, why: str) -> End:
        """Stop what is done for a card that somebody else ended, if anything is."""
        if self._held.known is None:
            return End.NOT_WANTED
        self._telling.say(f"given up: {why}", "warning")
        self._cancel()
        self._end(None)
        return End.NOT_WANTED

    def _cancel(self) -> None:
        """Have the daemon stop what may have been handed to it."""
        if self._known.spec is None or self._known.published:
            return
        try:
            # It is found again by its name; one that never arrived is made and stopped at once.
            self._around.daemon.cancel(self._around.daemon.submit(self._known.spec))
        except CryobridgeError as error:
            log.warning("%s: the daemon could not be told to stop: %s", self._card, error)

    def _end(self, card: Card | None) -> None:
        known, server = self._known, self._around.server
        if known.claim:
            try:
                ended = card or server.card(self._card)
                mine = Claim(self._around.memory.owner, known.request, self._around.host, moment())
                end_claim(server, ended, Claimed(known.claim, mine))
            except CryobridgeError as error:
                # Our own claims without an end are known to be over.
                log.warning("%s", error)
        shutil.rmtree(self._work, ignore_errors=True)
        self._held.forget()

    # ---- small things

    @property
    def _known(self) -> Remembered:
        return self._held.begin()

    @property
    def _work(self) -> Path:
        return self._around.memory.folder / "work" / str(self._card)

    def _note(self, **changes: object) -> None:
        self._held.note(self._known.but(**changes))

    def _insist(self, call: Callable[[], T], patience: CardPatience | None = None) -> T:
        around = self._around
        return insist(around.server, call, patience or around.patience, given_up=around.stopping, sleep=around.sleep)

    def _waiting(self, place: int) -> None:
        self._check()
        self._telling.place(place)

    def _check(self) -> None:
        """Raise where there is no point in going on."""
        if self._around.stopping():
            raise Left("this process ends")
        known = self._around.status_of(self._card)
        if known is not None and known[1] >= self._active_since and known[0] not in ACTIVE:
            raise NotWanted(f"it is {known[0]}")
