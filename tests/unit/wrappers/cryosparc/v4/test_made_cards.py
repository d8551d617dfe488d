"""Notes of cards that were made: whose they are, how long they last, and questions without an answer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.v4.made_cards import KEPT_S, Asked, MadeCards

CARD = CardId("P1", "J2")
ASKED = Asked("P1", "W1", "cryobridge: map.fsc3d", "# card 0123", 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made"


def test_every_process_sees_the_same_cards_of_its_projects(folder: Path) -> None:
    made = MadeCards(folder)
    assert made.cards(["P1"]) == []
    for card in (CARD, CardId("P1", "J10"), CardId("P2", "J3")):
        made.add(card)
    assert MadeCards(folder).cards(["P1"]) == [CardId("P1", "J10"), CARD]
    assert MadeCards(folder).cards(["P3"]) == []
    assert folder.stat().st_mode & 0o077 == 0


def test_a_card_that_ended_is_forgotten_after_a_week_and_one_that_lives_never(folder: Path) -> None:
    made = MadeCards(folder)
    made.add(CARD)
    made.has_ended(CARD)
    assert made.cards(["P1"]) == [CARD]
    long_ago = time.time() - KEPT_S - 60
    os.utime(folder / str(CARD), (long_ago, long_ago))
    made.is_alive(CARD)
    made.has_ended(CARD)
    assert made.cards(["P1"]) == [CARD]
    os.utime(folder / str(CARD), (long_ago, long_ago))
    made.has_ended(CARD)
    assert made.cards(["P1"]) == []
    made.has_ended(CARD)
    made.is_alive(CARD)


def test_a_question_stays_until_it_is_answered(folder: Path) -> None:
    made = MadeCards(folder)
    made.ask(ASKED)
    ((found, age_s),) = MadeCards(folder).questions()
    assert found == ASKED
    assert 0 <= age_s + 1 < 60
    assert made.cards(["P1"]) == []
    made.answered(ASKED.mark)
    made.answered(ASKED.mark)
    assert made.questions() == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"project": 1, "more": 2}', b"x" * 20_000])
def test_a_damaged_question_is_left_alone(folder: Path, content: bytes) -> None:
    made = MadeCards(folder)
    made.ask(ASKED)
    (path,) = folder.glob("asked-*")
    path.write_bytes(content)
    assert made.questions() == []


def test_strange_names_are_no_cards(folder: Path) -> None:
    made = MadeCards(folder)
    made.add(CARD)
    (folder / "P1-J2-old").touch()
    (folder / "notes.txt").touch()
    assert made.cards(["P1"]) == [CARD]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputInvalid, match="cannot be used to note which cards were made"):
        MadeCards(tmp_path / "file" / "made").add(CARD)
