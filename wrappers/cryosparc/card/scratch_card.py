"""A trial of all that a card needs of a server, on a card of its own that is never left running."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from cryobridge.schemas.errors import CryobridgeError

from ..documents import ACTIVE, BUILDING, COMPLETED, CardId
from ..options_block import request_mark
from ..patience import CardPatience, insist
from ..recipes import VOLUME, InputGroup, Slot
from ..server import CONFLICT, CryosparcServer, ServerRefused
from .new_card import made_once
from .project_files import ProjectFiles

TITLE = "cryobridge doctor: a test that may be deleted"
TRIAL_PATIENCE = CardPatience(server_s=20.0, login_s=0.0, trouble_s=0.0)
_FILE = "cryobridge_doctor.txt"
_INPUT = InputGroup(VOLUME, "volume", "nothing needs to be connected", False, (Slot("map", "blob", False),), ())
_TRIES = 3

Step = Callable[[], str]
T = TypeVar("T")


class TrialFailed(CryobridgeError):  # noqa: N818
    """The server did something else than what a card relies on."""


class ScratchCard:
    """A card that goes through all that a card goes through; each step says what was found, or raises.

    Parameters
    ----------
    work
        Folder of our own; nothing is made in it where the project's folder can be seen.

    Attributes
    ----------
    card
        Once it has been made.
    files
        The project's folder as seen from here, once a file has been sent through the server.
    folder
        The card's, on the server's machine; known when `files` is.
    """

    def __init__(
        self,
        server: CryosparcServer,
        project: str,
        workspace: str,
        work: Path,
        patience: CardPatience = TRIAL_PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._server = server
        self._place = project, workspace
        self._work = work
        self._patience = patience
        self._sleep = sleep
        self._content = f"{secrets.token_hex(16)}\n".encode()
        self._made: CardId | None = None
        self.files: ProjectFiles | None = None
        self.folder: Path | None = None

    @property
    def card(self) -> CardId | None:
        """Its id, once it has been made."""
        return self._made

    def steps(self) -> Iterator[Step]:
        """What is tried, in order; the first that raises is the last."""
        yield self._make
        yield self._declare
        yield self._send
        yield self._send_again
        yield self._begin
        yield self._finish

    def end(self, sentence: str) -> str:
        """See to it that it does not stay running or waiting; its status in the end, empty where it is not known."""
        status = ""
        for pause in (0.5, 1.0, 2.0, 0.0):
            try:
                status = self._server.status(self._known)
                if status not in ACTIVE and status != BUILDING:
                    return status
                self._server.fail(self._known, sentence)
                status = self._server.status(self._known)
                break
            except CryobridgeError:
                self._sleep(pause)
        return status

    # ---- steps

    def _make(self) -> str:
        request = secrets.token_hex(8)
        self._made = made_once(
            self._server, *self._place, TITLE, request_mark(request), request, self._patience, self._sleep
        )
        return f"{self._made} was made in {self._place[1]}"

    def _declare(self) -> str:
        card, server = self._known, self._server
        self._insist(lambda: server.add_input(card, _INPUT))
        slots = [Slot("map", "blob")]
        self._insist(lambda: server.add_output(card, VOLUME, "volume", slots, "nothing is saved here", None))
        now = self._insist(lambda: server.card(card))
        if VOLUME not in now.inputs or VOLUME not in now.outputs:
            raise TrialFailed(f"{card}: the server took an input and an output, and does not show them")
        return "takes an input and an output for a volume"

    def _send(self) -> str:
        """Send a file; one that is cut off on its way arrives without an error, so it is read back."""
        card = self._insist(lambda: self._server.card(self._known))
        for _ in range(_TRIES):
            self._insist(lambda: self._server.upload(card.id, _FILE, self._content, overwrite=True))
            if self._read_back(card.directory) == self._content:
                break
        else:
            raise TrialFailed(f"{card.id}: {_FILE} does not arrive whole at the server; is its disk full?")
        project = self._insist(lambda: self._server.project_directory(card.id.project))
        self.files = self._insist(lambda: ProjectFiles(self._server, card, (_FILE, self._content), self._work))
        self.folder = Path(project) / card.directory
        return "a file was sent to its folder and came back the same"

    def _send_again(self) -> str:
        """A claim is a file that can be made only once."""
        card = self._insist(lambda: self._server.card(self._known))
        other = b"this must not arrive\n"
        try:
            self._insist(lambda: self._server.upload(card.id, _FILE, other, overwrite=False))
        except ServerRefused as error:
            if error.status >= 500:
                raise
            # 0: one that speaks no HTTP.
            how = "" if error.status in (0, CONFLICT) else f" (HTTP {error.status}, where {CONFLICT} was expected)"
        else:
            raise TrialFailed(
                f"{card.id}: a file that was there was replaced though it was not to be; two agents could take the "
                "same card, so run one only"
            )
        if self._read_back(card.directory) != self._content:
            raise TrialFailed(f"{card.id}: the server refused to replace {_FILE}, and changed it all the same")
        return f"a file that is there is not replaced unasked{how}"

    def _begin(self) -> str:
        card, server = self._known, self._server
        self._insist(lambda: server.start(card, "running"))
        self._insist(lambda: server.log(card, "cryobridge doctor: this line is a test"))
        return "was started, and wrote a line to its log"

    def _finish(self) -> str:
        card, server = self._known, self._server

        def once() -> str:
            status = server.status(card)
            if status in ACTIVE:
                server.finish(card)
                status = server.status(card)
            return status

        status = self._insist(once)
        if status != COMPLETED:
            raise TrialFailed(f"{card}: was to be completed, and is {status}; did somebody kill it?")
        return "was marked completed"

    # ---- small things

    @property
    def _known(self) -> CardId:
        if self._made is None:
            raise TrialFailed("no card has been made")
        return self._made

    def _read_back(self, directory: str) -> bytes | None:
        limit = len(self._content) + 1
        return self._insist(lambda: self._server.read(self._known.project, f"{directory}/{_FILE}", limit))

    def _insist(self, call: Callable[[], T]) -> T:
        return insist(self._server, call, self._patience, sleep=self._sleep)
