"""Whether a card was made whose answer was lost: found by its mark, or known not to be, or one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.server import ServerRefused
from cryobridge.wrappers.cryosparc.v4.creation import found_again
from cryobridge.wrappers.cryosparc.v4.made_cards import Asked

MARK = "# card 0123"


def look(jobs: dict[int, str], after: int | None, newest: int | None = 0) -> CardId | None:
    """Look for a card among jobs with these descriptions."""

    def document_of(card: CardId) -> dict[str, Any]:
        number = int(card.job[1:])
        if number not in jobs:
            raise ServerRefused("there is no such job")
        return {"description": jobs[number]}

    return found_again(document_of, lambda _: newest, Asked("P1", "W1", "a title", MARK, after))


def test_it_is_known_by_its_mark_among_those_made_since() -> None:
    assert look({3: "", 4: "another", 5: f"text\n{MARK}\n"}, 3) == CardId("P1", "J5")


def test_older_jobs_are_not_looked_at() -> None:
    assert look({2: MARK, 3: ""}, 3) is None


def test_gaps_are_got_over() -> None:
    assert look({3: "", 8: MARK}, 3) == CardId("P1", "J8")
    assert look({3: "", 30: MARK}, 3, newest=30) == CardId("P1", "J30")


def test_in_an_empty_project_it_is_looked_for_from_the_first_number() -> None:
    assert look({1: MARK}, 0) == CardId("P1", "J1")
    assert look({}, 0) is None


@pytest.mark.parametrize(
    ("jobs", "after"),
    [({3: "", 4: MARK}, None), ({4: MARK}, 3), (dict.fromkeys(range(1, 400), ""), 1)],
    ids=["the folder could not be listed", "jobs cannot be read", "more jobs than can be looked at"],
)
def test_what_cannot_be_known_is_not_guessed(jobs: dict[int, str], after: int | None) -> None:
    with pytest.raises(ServerRefused, match=r"is not known.*W1|W1.*is not known") as caught:
        look(jobs, after)
    assert MARK in str(caught.value)
    assert "a title" in str(caught.value)
