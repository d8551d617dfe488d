"""The page of a refinement: what it claims, that it stands alone, that it is quick, and that it costs no map."""

import base64
import os
import re
import time
import xml.etree.ElementTree as ElementTree
import zlib

import pytest

from cryobridge.bridge.worker.calls.history_page import history_page, report_of
from cryobridge.bridge.worker.report.page import as_html
from cryobridge.schemas.iterations import IterationFigures, as_text, row

HOSTILE = "<script>alert(1)</script>\"'&"


def rows(*, apart=False, many=3, why="not due"):
    figures = IterationFigures(
        resolution_A=4.2, best_direction_A=3.8, worst_direction_A=6.5, cone_fsc_raw=0.21, cone_fsc_corrected=0.40,
        halves_apart=apart, mode="independent" if apart else "shared", steps=300,
    )  # fmt: skip
    first = row(1, "class001", "standard", figures=IterationFigures(), seconds=1, code="not_due", why=why)
    lost = row(2, "class001", "standard", figures=IterationFigures(), seconds=1, code="oom", why=why)
    corrected = [
        row(number, "class001", "corrected", figures=figures, seconds=14, code="corrected", why="")
        for number in range(3, many + 1)
    ]
    return [first, lost, *corrected]


def drawn(tmp_path, text, iteration=99):
    (tmp_path / "in").write_bytes(text)
    history = os.open(tmp_path / "in", os.O_RDONLY)
    page = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    try:
        return history_page({"history_in": history, "report_out": page}, iteration), (tmp_path / "out").read_bytes()
    finally:
        os.close(history)
        os.close(page)


@pytest.mark.parametrize(("apart", "words"), [(True, "halves share one network"), (False, "One network saw both")])
def test_raw_sums_is_the_figure_to_quote_and_corrected_halves_are_no_resolution(apart, words):
    page = as_html(report_of(rows(apart=apart)))
    assert "The figure to quote is that of the raw sums" in page
    assert words in page
    assert "never a resolution" in page
    assert "independent half-maps" not in page


def test_each_figure_is_a_whole_drawing_with_a_line_below(tmp_path):
    written, page = drawn(tmp_path, as_text(rows(many=40)).encode())
    assert (written.size, written.crc32) == (len(page), zlib.crc32(page))
    pictures = re.findall(rb"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == page.count(b"<figcaption") == 2
    for picture in pictures:
        assert ElementTree.fromstring(base64.b64decode(picture)).tag.endswith("svg")
    assert b"Iteration 2: RELION&#x27;s own map" in page
    assert b"Iteration 1: RELION" not in page, "what was planned is no warning"


def test_it_is_drawn_in_milliseconds(tmp_path):
    text = as_text(rows(many=200)).encode()
    drawn(tmp_path, text)
    started = time.process_time()
    drawn(tmp_path, text)
    assert time.process_time() - started < 0.1


def test_text_from_outside_stays_text(tmp_path):
    _, page = drawn(tmp_path, as_text(rows(why=HOSTILE)).encode())
    assert b"<script" not in page


def test_iterations_after_this_one_are_another_runs(tmp_path):
    _, page = drawn(tmp_path, as_text(rows(many=9)).encode(), iteration=5)
    assert b"up to iteration 5" in page


@pytest.mark.parametrize("text", [b"", b"\xff\0,", b"a,b\n1,2\n"])
def test_a_history_that_is_none_gives_no_page(tmp_path, text):
    assert drawn(tmp_path, text) == (None, b"")


def test_numbers_that_are_none_give_a_page_without_them(tmp_path):
    edited = rows()
    edited[2] |= {"resolution_A": "nan", "cone_fsc_raw_sums": "x", "steps": "inf", "iteration": "3"}
    written, page = drawn(tmp_path, as_text(edited).encode())
    assert written is not None
    assert b"No iteration so far has these figures" in page


def test_a_page_that_cannot_be_written_is_passed_over(tmp_path):
    (tmp_path / "in").write_text(as_text(rows()))
    fd = os.open(tmp_path / "in", os.O_RDONLY)
    try:
        assert history_page({"history_in": fd, "report_out": fd}, 9) is None
        assert history_page({"history_in": fd}, 9) is None
    finally:
        os.close(fd)
