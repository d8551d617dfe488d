"""When a card may begin, and above all when not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fake_cryosparc import card_of, volume_input

from cryobridge.wrappers.cryosparc.documents import Card, CardId, CardInput
from cryobridge.wrappers.cryosparc.go_signs import begins_by_itself, has_go_sign, is_ours, is_ready

TAGS = {"T1": "cryobridge", "T2": " CryoBridge ", "T3": "something else"}
HALVES = ("map_half_A", "map_half_B", "mask_refine")


def described(*lines: str, **changes: object) -> Card:
    return card_of(description="\n".join(["```cryobridge", *lines, "```"]), **changes)


def connected(*results: str, **changes: object) -> Card:
    return described("job = map.fsc3d", inputs={"volume": volume_input(*results)}, parents=("J1",), **changes)


@pytest.mark.parametrize(
    ("title", "tags", "begins"),
    [
        ("cryobridge: map.correct", (), False),
        ("go cryobridge: map.correct", (), True),
        ("  GO!", (), True),
        ("Go", (), True),
        ("gold grid", (), False),
        ("ago", (), False),
        ("let it go", (), False),
        ("a card", ("T1",), True),
        ("a card", ("T2",), True),
        ("a card", ("T3",), False),
        ("a card", ("T9",), False),
        ("", (), False),
    ],
)
def test_a_tag_or_a_title_that_begins_with_go(title: str, tags: tuple[str, ...], begins: bool) -> None:
    assert has_go_sign(card_of(title=title, tags=tags), TAGS, "cryobridge") is begins


def test_the_tag_may_have_another_title() -> None:
    assert has_go_sign(card_of(tags=("T3",)), TAGS, "Something Else")
    assert not has_go_sign(card_of(tags=("T1",)), TAGS, "something else")


def test_only_external_jobs_with_a_block_are_ours() -> None:
    ours = described("job = map.fsc3d")
    assert is_ours(ours)
    assert not is_ours(replace(ours, type="homo_refine_new"))
    assert not is_ours(replace(ours, description="an external job of somebody else"))


def test_a_card_begins_by_itself_only_where_its_block_says_so() -> None:
    assert begins_by_itself(described("job = map.fsc3d", "go = when_connected"))
    assert not begins_by_itself(described("job = map.fsc3d", "go = tag"))
    assert not begins_by_itself(described("job = map.fsc3d"))
    assert not begins_by_itself(described("job = map.fsc3d", "go = when_connected", "go = tag"))


def test_ready_is_connected_complete_and_finished() -> None:
    card = connected(*HALVES)
    assert is_ready(card, {CardId("P1", "J1"): "completed"}.get)
    for status in ("running", "failed", "killed", "building"):
        assert not is_ready(card, {CardId("P1", "J1"): status}.get)
    assert not is_ready(card, {}.get)


def test_what_is_not_all_there_is_not_ready() -> None:
    def done(_: CardId) -> str:
        return "completed"

    assert not is_ready(connected(*HALVES, complaints=("inputs.volume too_short",)), done)
    assert not is_ready(connected("map_half_A"), done)
    assert not is_ready(described("job = map.fsc3d"), done)
    assert not is_ready(described("job = map.fsc3d", inputs={"volume": CardInput("volume", True, ())}), done)
    assert not is_ready(described("job = no.such.job", inputs={"volume": volume_input(*HALVES)}), done)
    assert not is_ready(card_of(description="no block", inputs={"volume": volume_input(*HALVES)}), done)


def test_every_parent_must_have_finished() -> None:
    card = replace(connected(*HALVES), parents=("J1", "J2"))
    statuses = {CardId("P1", "J1"): "completed", CardId("P1", "J2"): "running"}
    assert not is_ready(card, statuses.get)
    assert is_ready(card, (statuses | {CardId("P1", "J2"): "completed"}).get)
