"""The figures of a report's page: those of our own pages, and pages that somebody else has written."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.card import figures as module
from cryobridge.wrappers.cryosparc.card.figures import figures_of

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10
SRC = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def page(folder: Path, body: str) -> Path:
    path = folder / "report.html"
    path.write_text(f"<!DOCTYPE html><html><body>{body}</body></html>", encoding="utf-8", errors="surrogatepass")
    return path


def test_a_figure_has_its_title_its_table_and_what_it_shows(tmp_path: Path) -> None:
    body = (
        f'<figure><img alt="FSC &amp; more" src="{SRC}" data-table="fsc.csv" data-tile>'
        "<figcaption>The curve falls\n  below <b>0.143</b> at 3 &Aring;.</figcaption></figure>"
        f'<p>words</p><figure><img alt="Slices" src="{SRC}"/></figure>'
    )
    first, second = figures_of(page(tmp_path, body))
    assert (first.title, first.table, first.is_tile, first.png) == ("FSC & more", "fsc.csv", True, PNG)
    assert first.reading == "The curve falls below 0.143 at 3 Å."
    assert (second.title, second.table, second.is_tile, second.reading) == ("Slices", "", False, "")


def test_a_page_without_figures_has_none(tmp_path: Path) -> None:
    assert figures_of(page(tmp_path, "<h1>Report</h1><figcaption>of nothing</figcaption>")) == []


@pytest.mark.parametrize(
    "image",
    [
        '<img src="https://example.org/spy.png">',
        '<img src="file:///etc/passwd">',
        '<img src="data:image/svg+xml;base64,AAAA">',
        '<img src="data:image/png;base64,%%%">',
        '<img src="data:image/png;base64,\u00e9\u00e9\u00e9\u00e9">',
        '<img src="data:image/png;base64,AAA">',
        "<img src>",
        "<img>",
    ],
)
def test_only_pictures_that_the_page_holds_itself_are_taken(tmp_path: Path, image: str) -> None:
    assert figures_of(page(tmp_path, image)) == []


@pytest.mark.parametrize(
    "body",
    ["<![if foo", "<![CDATA[ x", "<!-- open", "<" * 5000, "&#xFFFFFFFF;" * 10, "<figure>" * 5000, f'<img src="{SRC}'],
)
def test_a_page_that_is_hostile_is_read_or_refused_in_a_sentence(tmp_path: Path, body: str) -> None:
    try:
        assert figures_of(page(tmp_path, body)) == []
    except InputInvalid as error:
        said = str(error)
        assert "report.html" in said
        assert "\n" not in said


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["<img ", "alt=", "<![", "]]>", "<!", "--", ">", "'", '"', "&#", "x", SRC]), max_size=20)
)
def test_no_page_ends_otherwise(tmp_path: Path, parts: list[str]) -> None:
    try:
        found = figures_of(page(tmp_path, "".join(parts)))
    except InputInvalid:
        return
    assert all(one.png for one in found)


def test_a_page_that_is_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGE_BYTES", 10_000)
    with pytest.raises(InputInvalid, match="not a report of cryobridge"):
        figures_of(page(tmp_path, "x" * 20_000))


def test_a_large_picture_comes_whole(tmp_path: Path) -> None:
    png = PNG * 100_000
    (one,) = figures_of(page(tmp_path, f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}">'))
    assert one.png == png


def test_a_page_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"report\.html"):
        figures_of(tmp_path / "report.html")
