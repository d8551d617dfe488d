"""What is said on a card: never a reason to lose its work, never more than a reader or a server can bear."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cryobridge.schemas.errors import CryobridgeError

from ..documents import CardId
from ..sent_text import bounded, one_line
from ..server import CryosparcServer, LogLevel

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 1.0
LIFE_EVERY_S = 60.0
PLACE_EVERY_S = 30.0
LINE_EVERY_S = 60.0
"""Where lines cannot be changed each word of progress is a line more, and stays."""
LIFE_LINE_EVERY_S = 600.0


class Telling:
    """Lines on one card; the progress is one line that changes, or few lines where the server cannot change one."""

    def __init__(self, server: CryosparcServer, card: CardId, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._card = card
        self._clock = clock
        self._begun = clock()
        edits = server.abilities.edits_lines
        self._progress_every_s = PROGRESS_EVERY_S if edits else LINE_EVERY_S
        self._place_every_s = PLACE_EVERY_S if edits else LINE_EVERY_S
        self._life_every_s = LIFE_EVERY_S if edits else LIFE_LINE_EVERY_S
        self._said_at = float("-inf")
        self._last = ""

    def say(self, text: str, level: LogLevel = "text", name: str | None = None) -> None:
        """Add a line; nothing where there is nothing to say."""
        if not text.strip():
            return
        level_here = logging.INFO if level == "text" else logging.WARNING
        log.log(level_here, "%s: %s", self._card, one_line(text.strip().splitlines()[0]))
        try:
            self._server.log(self._card, bounded(text), level, name)
        except CryobridgeError as error:
            log.warning("%s", error)

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Change the line of progress, at most once a second; once a minute where it is a line more."""
        self._last = text if fraction is None else f"{text} ({fraction:.0%})"
        if self._clock() - self._said_at >= self._progress_every_s:
            self._show(self._last)

    def place(self, place: int) -> None:
        """Say where in the line it is, where that has changed, and not often: many cards may wait."""
        text = f"number {place} in the line"
        if text != self._last and self._clock() - self._said_at >= self._place_every_s:
            self._last = text
            self._show(text)

    def show_life(self) -> None:
        """Change the line of progress where it has not changed for some time, so that work is seen to go on."""
        if self._clock() - self._said_at >= self._life_every_s:
            self._show(f"{self._last or 'at work'}; for {(self._clock() - self._begun) / 60:.0f} min")

    def _show(self, text: str) -> None:
        self._said_at = self._clock()
        try:
            self._server.log(self._card, bounded(text), "text", "progress")
        except CryobridgeError as error:
            log.warning("%s", error)
