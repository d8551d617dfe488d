"""Text on its way to a server: valid whatever was in it, and never longer than it may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cryobridge.wrappers.cryosparc.sent_text import MAX_LINE, MAX_TEXT, bounded, one_line, sendable

ANY = st.text(st.characters(), max_size=200)


@given(ANY)
def test_any_text_can_be_sent_and_keeps_what_can_be_read(text: str) -> None:
    sent = sendable(text)
    sent.encode("utf-8")
    assert all(letter.isprintable() or letter in "\n\t" or ord(letter) > 0x9F for letter in sent)
    assert sendable(sent) == sent
    if text.isprintable():
        assert sent == text


@given(ANY)
def test_a_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert len(line) <= MAX_LINE


def test_a_name_of_a_file_that_is_no_utf8_can_be_sent() -> None:
    assert sendable(b"/data/\xff.mrc".decode("utf-8", "surrogateescape")) == "/data/?.mrc"


def test_a_long_traceback_keeps_its_begin_and_its_end() -> None:
    text = "Traceback (most recent call last):\n" + "  File x, line 1\n" * 10_000 + "ValueError: the reason"
    short = bounded(text)
    assert len(short) <= MAX_TEXT
    assert short.startswith("Traceback")
    assert short.endswith("ValueError: the reason")
    assert bounded(short) == short


def test_a_long_line_says_that_it_was_cut() -> None:
    assert one_line("x" * 100_000) == "x" * (MAX_LINE - 3) + "..."
