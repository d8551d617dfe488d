"""The page holds all it shows, and whatever text it is given stays text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest
from support.pictures import pixels

from cryobridge.bridge.worker.report import citations
from cryobridge.bridge.worker.report.figures.canvas import png, sheet
from cryobridge.bridge.worker.report.page import Figure, Judged, Report, as_html

HOSTILE = "<script>alert(1)</script>\"' onerror=x &amp;.mrc\u202e\x1b[31m\n\udcff"


class Page(HTMLParser):
    """Elements with their attributes, and the text inside each, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements are closed in the order they were opened"

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]


@pytest.fixture(scope="module")
def picture() -> bytes:
    figure = sheet(2.0, 1.0)
    figure.add_subplot().plot([0, 1], [0, 1])
    return png(figure)


def report(picture: bytes, **changes) -> Report:
    values = {
        "title": "Correction of half-maps",
        "summary": "Measured to 3.0 Å.",
        "facts": {"Box": "256", "Voxel size": "1.06 Å"},
        "figures": [Figure("FSC", picture, "Agree to 3.0 Å."), Figure("Loss", picture, "The loss fell.")],
        "statements": ["One network saw both half-maps."],
        "methods": ["The 3DFSC was computed."],
        "warnings": ["The network invents structure."],
        "references": [citations.FSC3D],
    }
    return Report(**{**values, **changes})


def test_everything_given_is_on_the_page_and_whole(picture):
    page = Page(as_html(report(picture)))
    assert not page.open
    assert page.text_of("h1") == ["Correction of half-maps"] == page.text_of("title")
    assert page.text_of("th") == ["Box", "Voxel size"]
    assert page.text_of("td") == ["256", "1.06 Å"]
    assert [text for text in page.text_of("figcaption") if text[-1] == "."] == ["Agree to 3.0 Å.", "The loss fell."]
    assert {"The network invents structure.", "One network saw both half-maps."} <= set(page.text_of("li"))
    assert "The 3DFSC was computed." in page.text_of("p")
    assert page.text_of("a") == ["doi.org/10.1038/nmeth.4347"]


def test_warnings_come_first_and_statements_before_any_figure(picture):
    html = as_html(report(picture))
    places = [
        html.index(text)
        for text in ("Measured to", "invents structure", "saw both half-maps", "<table>", "<img", "The 3DFSC was")
    ]
    assert places == sorted(places)


def test_parts_that_are_empty_leave_no_heading(picture):
    bare = as_html(report(picture, facts={}, figures=(), statements=(), methods=(), warnings=(), references=()))
    assert Page(bare).text_of("h2") == []


def test_pictures_are_inside_the_page_with_words_for_them(picture):
    images = Page(as_html(report(picture))).named("img")
    assert [image["alt"] for image in images] == ["FSC", "Loss"]
    for number, image in enumerate(images, 1):
        kind, data = str(image["src"]).split(",", 1)
        assert kind == "data:image/png;base64"
        raw = base64.b64decode(data, validate=True)
        assert raw == picture
        height, width, _ = pixels(raw).shape
        assert (image["width"], image["height"]) == (str(width), str(height))
        assert image["aria-describedby"] == f"reading-{number}"


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(picture):
    html = as_html(report(picture))
    page = Page(html)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("srcset", "style", "background")]
        if "src" in attributes:
            assert str(attributes["src"]).startswith("data:image/png;base64,")
        if "href" in attributes:
            assert tag == "a"
            assert str(attributes["href"]).startswith("https://")
    assert not re.search(r"@import|url\(", html)
    policy = next(meta for meta in page.named("meta") if "http-equiv" in meta)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert str(policy["content"]).startswith("default-src 'none'")


@pytest.mark.parametrize("part", ["title", "summary", "facts", "figures", "statements", "methods", "warnings"])
def test_hostile_text_stays_text_wherever_it_comes_in(picture, part):
    value = {"facts": {HOSTILE: HOSTILE}, "figures": [Figure(HOSTILE, picture, HOSTILE)]}.get(part, [HOSTILE])
    html = as_html(report(picture, **{part: HOSTILE if part in ("title", "summary") else value}))
    plain = as_html(report(picture))
    page = Page(html)
    assert not page.named("script")
    known = {(tag, *attributes) for tag, attributes in Page(plain).elements}
    assert {(tag, *attributes) for tag, attributes in page.elements} <= known, "no element or attribute was smuggled in"
    assert any("<script>alert(1)</script>\"' onerror=x &amp;.mrc" in text for _, text in page.texts), "shown as it is"
    assert not set(html) & set("\u202e\x1b\udcff")
    html.encode("utf-8")


def test_the_page_follows_the_reader(picture):
    html = as_html(report(picture))
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert '<html lang="en">' in html
    assert "width=device-width" in html


def test_a_figure_that_is_no_png_is_refused(picture):
    with pytest.raises(ValueError, match="'FSC' is not a PNG"):
        as_html(report(picture, figures=[Figure("FSC", b"GIF89a", "")]))


def test_a_verdict_stands_above_everything_and_its_reasons_stay_text(picture):
    html = as_html(report(picture, verdict=Judged("Use with care.", [HOSTILE], "careful"), warnings=["a warning"]))
    assert html.index("Use with care.") < html.index("a warning")
    assert "<script>" not in html
    assert 'class="verdict careful"' in html
    assert 'id="verdict"' not in as_html(report(picture))
