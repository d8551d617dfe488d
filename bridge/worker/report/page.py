"""One HTML page that holds everything it shows: no file beside it, no network, no script.

Everything handed in is text to this page, never markup: file names may be hostile.
"""

from __future__ import annotations

import base64
import html
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cryobridge import __version__

from .citations import Citation
from .printable import printable
from .style import STYLE

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Even if something of the text were taken for markup, the browser would load and run nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Figure:
    """A picture (PNG), its title, and one line that says in plain words what it shows.

    Attributes
    ----------
    table
        The file beside the page that holds its numbers; empty where there is none.
    is_tile
        Whether it is the one to stand for the job where there is room for one.
    """

    title: str
    png: bytes
    reading: str
    table: str = ""
    is_tile: bool = False


@dataclass(frozen=True)
class Drawing:
    """The same with an SVG picture, for where there is no time to load what draws PNG; width and height in pixels."""

    title: str
    svg: str
    width: int
    height: int
    reading: str


@dataclass(frozen=True)
class Judged:
    """A verdict in a few words, its reasons, and how it is to be shown: "good", "careful" or "bad"."""

    words: str
    reasons: Sequence[str]
    colour: Literal["good", "careful", "bad"]


@dataclass(frozen=True)
class Report:
    """What a page says, in the order it says it.

    summary
        The result in one or two sentences.
    verdict
        Whether to use it, in a few words, where that was judged.

    Warnings
    --------
        What may be wrong with this result; shown first, and so that nobody overlooks it.
    statements
        What a reader must know whatever the result, such as whether half-maps are still independent.
    facts
        Name and value, for the table.
    methods
        Paragraphs that could go into a paper, and in `references` what they cite.
    """

    title: str
    summary: str
    facts: Mapping[str, str]
    figures: Sequence[Figure | Drawing]
    statements: Sequence[str]
    methods: Sequence[str]
    verdict: Judged | None = None
    warnings: Sequence[str] = ()
    references: Sequence[Citation] = ()


def as_html(report: Report) -> str:
    """Return the page, as text to be written in UTF-8.

    Raises
    ------
    ValueError
        If a figure is not a PNG.
    """
    title = _text(report.title)
    parts = [
        f'<header><h1>{title}</h1><p class="summary">{_text(report.summary)}</p></header>',
        _verdict(report.verdict),
        _notes("Warnings", report.warnings, "warnings"),
        _notes("Before you use this result", report.statements, "statements"),
        _table(report.facts),
        *(_figure(number, figure) for number, figure in enumerate(report.figures, 1)),
        _methods(report.methods, report.references),
        f"<footer><p>Written by cryobridge {_text(__version__)}. This page holds all it shows; "
        "links lead to the literature only.</p></footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _text(raw: str) -> str:
    return html.escape(printable(raw), quote=True)


def _notes(heading: str, lines: Sequence[str], kind: str) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return (
        f'<section class="notes {kind}" aria-labelledby="{kind}">'
        f'<h2 id="{kind}">{heading}</h2><ul>{items}</ul></section>'
    )


def _verdict(judged: Judged | None) -> str:
    if judged is None:
        return ""
    reasons = "".join(f"<li>{_text(reason)}</li>" for reason in judged.reasons)
    return (
        f'<section class="verdict {judged.colour}" aria-labelledby="verdict">'
        f'<h2 id="verdict">{_text(judged.words)}</h2><ul>{reasons}</ul></section>'
    )


def _table(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>\n' for name, value in facts.items()
    )
    return f'<section aria-labelledby="facts"><h2 id="facts">Facts</h2>\n<table>{rows}</table></section>'


def _figure(number: int, figure: Figure | Drawing) -> str:
    if isinstance(figure, Drawing):
        kind, raw, width, height = "svg+xml", figure.svg.encode(), figure.width, figure.height
    else:
        kind, raw, (width, height) = "png", figure.png, _png_size(figure)
    notes = ""
    if isinstance(figure, Figure):
        notes += f' data-table="{_text(figure.table)}"' if figure.table else ""
        notes += ' data-tile=""' if figure.is_tile else ""
    data = base64.b64encode(raw).decode("ascii")
    title = _text(figure.title)
    return (
        f'<section aria-labelledby="figure-{number}"><h2 id="figure-{number}">{title}</h2>\n'
        f'<figure><img src="data:image/{kind};base64,{data}" width="{width}" height="{height}" alt="{title}"{notes} '
        f'aria-describedby="reading-{number}">\n'
        f'<figcaption id="reading-{number}"><b>Figure {number}.</b> {_text(figure.reading)}</figcaption>'
        "</figure></section>"
    )


def _png_size(figure: Figure) -> tuple[int, int]:
    """Width and height in pixels."""
    if figure.png[:8] != _PNG_SIGNATURE or len(figure.png) < 24:
        raise ValueError(f"the figure {figure.title!r} is not a PNG")
    width, height = struct.unpack(">II", figure.png[16:24])
    return width, height


def _methods(paragraphs: Sequence[str], references: Sequence[Citation]) -> str:
    if not paragraphs:
        return ""
    text = "".join(f"<p>{_text(paragraph)}</p>\n" for paragraph in paragraphs)
    items = "".join(
        f'<li>{_text(work.entry)} <a href="{_text(work.url)}">{_text(work.url.removeprefix("https://"))}</a></li>\n'
        for work in references
    )
    listed = f'<h3>References</h3>\n<ol class="references">\n{items}</ol>' if items else ""
    return f'<section class="methods" aria-labelledby="methods"><h2 id="methods">Methods</h2>\n{text}{listed}</section>'
