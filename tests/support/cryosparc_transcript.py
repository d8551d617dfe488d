"""What was typed, said and seen while a test walked through CryoSPARC, as a page for people."""

from __future__ import annotations

import re
from pathlib import Path

from cryobridge.wrappers.cryosparc.documents import CardId
from support.cryosparc import Standin


class Transcript:
    """Grows while a test runs; `write` leaves a page and the pictures of a card, for the documentation.

    Parameters
    ----------
    hidden
        Texts that are different each time, or nobody's business, by what stands for them.
    """

    def __init__(self, hidden: dict[str, str]) -> None:
        self._hidden = hidden
        self._parts: list[str] = []

    def chapter(self, title: str, words: str = "") -> None:
        """Begin a part."""
        self._parts.append(f"## {title}\n\n{words}\n" if words else f"## {title}\n")

    def typed(self, command: str, said: str) -> None:
        """A command and what it said."""
        self._block(f"$ {command}\n{said}")

    def seen(self, what: str) -> None:
        """What somebody found."""
        self._block(what)

    def words(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"{text}\n")

    def write(self, page: Path, title: str, introduction: str) -> None:
        """Leave the page."""
        text = "\n".join([f"# {title}\n", f"{introduction}\n", *self._parts])
        for hidden, name in sorted(self._hidden.items(), key=lambda one: -len(one[0])):
            text = text.replace(hidden, name)
        text = re.sub(r"\b\d\d:\d\d:\d\d\b", "12:00:00", text)
        page.write_text(text)

    def _block(self, text: str) -> None:
        # A card's description holds fences of its own.
        self._parts.append(f"~~~text\n{text.rstrip()}\n~~~\n")


def card_as_shown(standin: Standin, card: CardId) -> str:
    """A card's event log, a line for each event, as the interface lists them."""
    lines = [f"{card}  {standin.job(card).title}  [{standin.job(card).status}]"]
    for event in standin.log_of(card):
        if event.type == "checkpoint":
            lines.append(f"--- checkpoint {event.meta}")
        elif event.type == "image":
            files = ", ".join(asset.filename for asset in event.imgfiles)
            lines.append(f"[image] {event.text} ({files})")
        else:
            first, *more = event.text.splitlines()
            lines += [f"[{event.type}] {first}", *(f"       {line}" for line in more)]
    return "\n".join(lines)


def pictures_of(standin: Standin, card: CardId) -> dict[str, bytes]:
    """The pictures that were sent to a card, by name: those of its log, and its tile."""
    found = {}
    for event in standin.log_of(card):
        if event.type == "image":
            for asset in event.imgfiles:
                if asset.filetype == "png":
                    found[asset.filename] = standin.state.assets[asset.fileid][1]
    tiles = standin.job(card).ui_tile_images
    if tiles:
        found["tile.png"] = standin.state.assets[tiles[0].fileid][1]
    return found
