"""When a card may begin, and above all when not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fake_cryosparc import card_of, volume_input

from cryobridge.wrappers.cryosparc.agent.go_signs import begins_by_itself, has_go_sign, is_ours, lacks_inputs, waits_for
from cryobridge.wrappers.cryosparc.documents import Card, CardId, CardInput, Source

TAGS = {"T1": "cryobridge", "T2": " CryoBridge ", "T3": "something else"}
HALVES = ("map_half_A", "map_half_B", "mask_refine")


def described(*lines: str, **changes: object) -> Card:
    return card_of(description="\n".join(["```cryobridge", *lines, "```"]), **changes)


def connected(*results: str, **changes: object) -> Card:
    return described("job = map.fsc3d", inputs={"volume": volume_input(*results)}, **changes)


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


def test_a_card_waits_for_what_it_needs_until_that_is_finished() -> None:
    card = connected(*HALVES)
    assert waits_for(card, {CardId("P1", "J1"): "completed"}.get) is None
    for status, sentence in (
        ("running", "waits for J1, which is running"),
        ("building", "waits for J1, which is building"),
        ("failed", "waits: J1, which it needs, failed; run that again, or connect another"),
        ("killed", "waits: J1, which it needs, was killed; run that again, or connect another"),
    ):
        assert waits_for(card, {CardId("P1", "J1"): status}.get) == sentence
    assert waits_for(card, {}.get) == "waits: J1, which it needs, cannot be seen; connect another"


def test_what_is_not_connected_is_named() -> None:
    assert lacks_inputs(connected(*HALVES)) is None
    assert lacks_inputs(connected("map_half_A")) == "waits: what is connected to 'volume' has no map_half_B"
    for inputs in ({}, {"volume": CardInput(())}):
        assert lacks_inputs(described("job = map.fsc3d", inputs=inputs)) == "waits: input 'volume' is not connected"


def test_wrong_options_are_no_lack_of_inputs_and_are_left_to_the_run() -> None:
    assert lacks_inputs(described("job = no.such.job")) is None
    assert lacks_inputs(card_of(description="no block")) is None


def test_every_parent_must_have_finished() -> None:
    other = CardInput((Source("J2", "mask", ("mask",)),))
    card = connected(*HALVES)
    card = replace(card, inputs={**card.inputs, "mask": other})
    statuses = {CardId("P1", "J1"): "completed", CardId("P1", "J2"): "running"}
    assert waits_for(card, statuses.get) == "waits for J2, which is running"
    assert waits_for(card, (statuses | {CardId("P1", "J2"): "completed"}).get) is None
