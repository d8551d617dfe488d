"""The figures of a job's page (`report.html`), which holds them all and no script."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

MAX_PAGE_BYTES = 64 * 1024 * 1024
_PNG = "data:image/png;base64,"


@dataclass
class PageFigure:
    """A figure.

    Attributes
    ----------
    reading
        What it shows, in a sentence or two.
    table
        Name of the file that holds its numbers; empty where there is none.
    is_tile
        Whether it is the one to stand for the job.
    """

    title: str
    png: bytes
    reading: str
    table: str
    is_tile: bool


def figures_of(page: Path) -> list[PageFigure]:
    """Read the figures of a page, in their order.

    Raises
    ------
    InputInvalid
        If the page cannot be read.
    """
    reader = _Reader()
    try:
        reader.feed(read_bounded(page, MAX_PAGE_BYTES, is_a="this is not a report of cryobridge"))
    except AssertionError as error:
        # So the parser of the standard library says that a declaration makes no sense.
        raise InputInvalid(f"{page}: is no report of cryobridge ({error}); run the job again") from error
    return reader.figures


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.figures: list[PageFigure] = []
        self._caption: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "img" and values.get("src", "").startswith(_PNG):
            try:
                png = base64.b64decode(values["src"].removeprefix(_PNG), validate=True)
            except ValueError:
                return
            self.figures.append(
                PageFigure(values.get("alt", ""), png, "", values.get("data-table", ""), "data-tile" in values)
            )
        elif tag == "figcaption" and self.figures:
            self._caption = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "figcaption" and self._caption is not None:
            self.figures[-1].reading = " ".join("".join(self._caption).split())
            self._caption = None

    def handle_data(self, data: str) -> None:
        if self._caption is not None:
            self._caption.append(data)
