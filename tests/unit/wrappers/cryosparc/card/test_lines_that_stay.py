"""Progress on a server where no line can be changed: few lines, since each of them stays."""

from __future__ import annotations

from typing import Any

from cryobridge.wrappers.cryosparc.card.telling import Telling
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.server import Abilities


class Lines:
    """A server's log, on a clock that the test moves."""

    def __init__(self, abilities: Abilities) -> None:
        self.abilities = abilities
        self.now = 1000.0
        self.said: list[str] = []

    def log(self, card: CardId, text: str, level: str = "text", name: str | None = None) -> None:
        self.said.append(text)


def told_for_an_hour(server: Any) -> list[str]:
    telling = Telling(server, CardId("P1", "J2"), clock=lambda: server.now)
    for second in range(3600):
        telling.progress("training", second / 3600)
        telling.show_life()
        server.now += 1
    return list(server.said)


def test_progress_is_a_line_a_minute_where_lines_stay() -> None:
    assert len(told_for_an_hour(Lines(Abilities(edits_lines=False)))) == 60
    assert len(told_for_an_hour(Lines(Abilities()))) == 3600


def test_life_is_shown_seldom_where_lines_stay() -> None:
    server: Any = Lines(Abilities(edits_lines=False))
    telling = Telling(server, CardId("P1", "J2"), clock=lambda: server.now)
    telling.progress("training", 0.5)
    for _ in range(3600):
        server.now += 1
        telling.show_life()
    assert server.said[:2] == ["training (50%)", "training (50%); for 10 min"]
    assert len(server.said) == 7


def test_words_are_said_at_once_all_the_same() -> None:
    server: Any = Lines(Abilities(edits_lines=False))
    telling = Telling(server, CardId("P1", "J2"), clock=lambda: server.now)
    telling.say("one")
    telling.say("two")
    assert server.said == ["one", "two"]
