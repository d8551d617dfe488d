"""What is said on a card: not too often, not too much, and never at the price of the work."""

from __future__ import annotations

import pytest
from support.fake_cryosparc import CARD, FakeCryosparc

from cryobridge.wrappers.cryosparc.card.telling import LIFE_EVERY_S, PLACE_EVERY_S, Telling
from cryobridge.wrappers.cryosparc.server import NotLoggedIn, ServerRefused, Unreachable


class Said:
    """A telling on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.server = FakeCryosparc()
        self.telling = Telling(self.server, CARD, clock=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return [text for text, _, _ in self.server.logged]


@pytest.fixture
def said() -> Said:
    return Said()


def test_progress_is_one_line_at_most_once_a_second(said: Said) -> None:
    for step in range(1000):
        said.telling.progress("training", step / 1000)
        said.now += 0.01
    assert 9 <= len(said.lines) <= 11
    assert {name for _, _, name in said.server.logged} == {"progress"}
    assert said.lines[0] == "training (0%)"


def test_work_that_says_nothing_is_seen_to_live_once_a_minute(said: Said) -> None:
    said.telling.progress("training", 0.5)
    for _ in range(600):
        said.now += 1
        said.telling.show_life()
    assert len(said.lines) == 1 + 600 // LIFE_EVERY_S
    assert said.lines[-1] == "training (50%); for 10 min"


def test_a_place_in_the_line_is_told_when_it_changes_and_not_often(said: Said) -> None:
    for second in range(300):
        said.telling.place(10 - second // 30)
        said.now += 1
    assert said.lines[0] == "number 10 in the line"
    assert len(said.lines) <= 1 + 300 // PLACE_EVERY_S
    said.now += 1000
    before = len(said.lines)
    for _ in range(100):
        said.telling.place(1)
        said.now += 60
    assert len(said.lines) == before


@pytest.mark.parametrize("text", ["", " ", "\n", "\n\n\t"])
def test_nothing_is_said_where_there_is_nothing_to_say(said: Said, text: str) -> None:
    said.telling.say(text)
    assert said.lines == []


def test_a_hundred_kilobytes_are_cut_in_the_middle(said: Said) -> None:
    said.telling.say("begin\n" + "x" * 100_000 + "\nend", "error")
    ((text, level, _),) = said.server.logged
    assert level == "error"
    assert len(text) <= 10_000
    assert text.startswith("begin")
    assert text.endswith("end")


def test_half_characters_and_nul_are_said_otherwise(said: Said) -> None:
    said.telling.say("/data/\udcff.mrc\0")
    said.telling.progress("reads \udcff")
    assert said.lines == ["/data/?.mrc?", "reads ?"]


@pytest.mark.parametrize("error", [Unreachable("away"), NotLoggedIn("expired"), ServerRefused("no", 500)])
def test_a_server_that_takes_no_word_costs_nothing(said: Said, error: Exception) -> None:
    said.server.faults["log"] = [error] * 1000
    for _ in range(100):
        said.telling.say("words", "warning")
        said.telling.progress("training", 0.1)
        said.telling.show_life()
        said.telling.place(3)
        said.now += 100
    assert said.lines == []


def test_words_for_a_server_that_takes_none_are_in_our_own_log(said: Said, caplog: pytest.LogCaptureFixture) -> None:
    said.server.faults["log"] = [Unreachable("the server is away")]
    said.telling.say("something went wrong", "error")
    assert "something went wrong" in caplog.text
    assert "the server is away" in caplog.text
