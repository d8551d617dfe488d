"""One card, one agent: whatever answers are lost, files cut off, and claims left behind."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from support.fake_cryosparc import CARD, FakeCryosparc, card_of

from cryobridge.wrappers.cryosparc.card.claim import FIRST_NAME, Claim, claim, end_claim, moment, read_claim
from cryobridge.wrappers.cryosparc.server import ServerRefused, Unreachable

HERE = f"{CARD.job}/{FIRST_NAME}"


def mine(owner: str = "me", request: str = "cs-1") -> Claim:
    return Claim(owner, request, "host", moment())


def tried(server: FakeCryosparc, one: Claim, **how: Any) -> tuple[str, str]:
    """Name and owner of the claim that there is afterwards."""
    found = claim(server, card_of(), one, how.get("is_over", lambda _: False), sleep=how.get("sleep", lambda _: None))
    return found.name, found.claim.owner


def test_the_first_one_has_it_and_the_second_is_told_whose_it_is() -> None:
    server = FakeCryosparc()
    assert tried(server, mine("first")) == (FIRST_NAME, "first")
    assert tried(server, mine("second")) == (FIRST_NAME, "first")
    assert list(server.files) == [HERE]


@pytest.mark.parametrize("lost", ["after", "before"])
def test_a_lost_answer_makes_no_second_claim(lost: str) -> None:
    """Trap 5: the answer says nothing, the file does; one that never arrived is tried again under its own name."""
    server = FakeCryosparc()
    server.faults["upload"] = [lost]
    if lost == "before":
        with pytest.raises(Unreachable):
            tried(server, mine())
    assert tried(server, mine()) == (FIRST_NAME, "me")
    assert list(server.files) == [HERE]


def test_a_claim_that_was_lost_on_its_way_leaves_no_name_free_for_another_agent() -> None:
    server = FakeCryosparc()
    server.faults["upload"] = ["before"]
    with pytest.raises(Unreachable):
        tried(server, mine("first"))
    assert tried(server, mine("second")) == (FIRST_NAME, "second")
    assert tried(server, mine("first")) == (FIRST_NAME, "second")


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_a_file_that_was_cut_off_belongs_to_nobody(cut: int) -> None:
    server = FakeCryosparc()
    server.faults["arrives"] = [lambda raw: raw[:cut]]
    assert tried(server, mine("first")) == ("bridge_claim_2.json", "first")
    assert tried(server, mine("second")) == ("bridge_claim_2.json", "first")


def test_a_file_that_is_still_being_written_is_waited_for() -> None:
    server = FakeCryosparc(files={HERE: b""})

    def writes_on(_: float) -> None:
        server.files[HERE] = mine("slow").as_bytes()

    assert tried(server, mine("quick"), sleep=writes_on) == (FIRST_NAME, "slow")


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"[]",
        b"null",
        b'"words"',
        b'{"owner": 1, "request": "x", "host": "h", "at": "t"}',
        b'{"owner": "a", "request": "b", "host": "c", "at": "d", "more": "e"}',
        b"[" * 9_000,
        b"\xff\xfe",
        b" " * 20_000,
    ],
)
def test_a_file_that_makes_no_sense_belongs_to_nobody(content: bytes) -> None:
    server = FakeCryosparc(files={HERE: content})
    assert tried(server, mine()) == ("bridge_claim_2.json", "me")


def test_a_card_that_was_cleared_and_started_again_has_a_claim_of_the_next_name() -> None:
    server = FakeCryosparc()
    first = claim(server, card_of(), mine("a", "r1"), lambda _: False)
    end_claim(server, card_of(), first)
    assert json.loads(server.files[HERE])["ended"]
    assert tried(server, mine("b", "r2")) == ("bridge_claim_2.json", "b")
    assert tried(server, mine("a", "r3")) == ("bridge_claim_2.json", "b")


def test_the_same_agent_after_its_death_finds_its_own_claim() -> None:
    server = FakeCryosparc()
    tried(server, mine("me", "r1"))
    assert tried(server, mine("me", "r1")) == (FIRST_NAME, "me")
    assert list(server.files) == [HERE]


def test_an_own_claim_of_which_nothing_is_left_is_over() -> None:
    server = FakeCryosparc()
    tried(server, mine("me", "forgotten"))
    name, _ = tried(server, mine("me", "new"), is_over=lambda other: other.owner == "me")
    assert name == "bridge_claim_2.json"


def test_another_agents_claim_is_never_over_by_itself() -> None:
    server = FakeCryosparc()
    tried(server, mine("other", "r1"))
    assert tried(server, mine("me", "r2"), is_over=lambda other: other.owner == "me") == (FIRST_NAME, "other")


def test_a_folder_that_cannot_be_written_to_is_said() -> None:
    server = FakeCryosparc()
    server.faults["upload"] = [ServerRefused("no space", 507)]
    with pytest.raises(ServerRefused, match="no space"):
        tried(server, mine())


def test_where_nothing_comes_back_as_it_was_written_claims_do_not_go_on_for_ever() -> None:
    class Full(FakeCryosparc):
        def read(self, project: str, path: str, limit: int) -> bytes:
            return b""

    with pytest.raises(ServerRefused, match="does not come back as it was"):
        tried(Full(), mine())


def test_of_many_agents_at_once_one_has_the_card() -> None:
    server, found = FakeCryosparc(), []
    lock, begin = threading.Lock(), threading.Barrier(8)
    upload = server.upload

    def exclusive(*given: Any, **named: Any) -> None:
        with lock:
            upload(*given, **named)

    server.upload = exclusive  # type: ignore[method-assign]

    def agent(number: int) -> None:
        begin.wait()
        found.append(tried(server, mine(f"agent {number}")))

    threads = [threading.Thread(target=agent, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_claim_that_takes_long_to_write_gives_way_to_the_one_that_held_it_for_damaged() -> None:
    class Slow(FakeCryosparc):
        """Writes the slow one's file in two parts, and the quick one looks in between."""

        def upload(self, card: Any, name: str, content: Any, *, overwrite: bool) -> None:
            if b"slow" in content and not self.files:
                self.files[HERE] = content[:5]
                assert tried(self, mine("quick")) == ("bridge_claim_2.json", "quick")
                self.files[HERE] = content
                return
            super().upload(card, name, content, overwrite=overwrite)

    server = Slow()
    assert tried(server, mine("slow")) == ("bridge_claim_2.json", "quick")
    assert tried(server, mine("quick")) == ("bridge_claim_2.json", "quick")
    assert json.loads(server.files[HERE])["ended"]


def test_an_absent_claim_is_none() -> None:
    assert read_claim(FakeCryosparc(), card_of(), FIRST_NAME, lambda _: None) is None
