"""A new card: exactly one, however often answers are lost, and nothing made where it would not fit."""

from __future__ import annotations

from typing import Any

import pytest
from support.fake_cryosparc import FakeCryosparc, card_of, volume_output

from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.documents import Card, CardId, Source
from cryobridge.wrappers.cryosparc.options_block import CardOptions, read_block
from cryobridge.wrappers.cryosparc.patience import CardPatience
from cryobridge.wrappers.cryosparc.server import ServerRefused, Unreachable

QUICK = CardPatience(server_s=5.0, login_s=5.0, pause_s=0.0, longest_pause_s=0.0)
REFINEMENT = card_of(
    CardId("P1", "J1"),
    type="homo_refine_new",
    status="completed",
    outputs={
        "volume": volume_output("map", "map_half_A", "map_half_B", "mask_refine"),
        "mask": volume_output("mask", type_="mask"),
        "particles": volume_output("blob", "alignments3D", type_="particle"),
    },
)


def server_with(**jobs: Card) -> FakeCryosparc:
    server = FakeCryosparc()
    for card in (REFINEMENT, *jobs.values()):
        server.cards[card.id] = card
    return server


def made(server: FakeCryosparc, kind: str = "map.fsc3d", **sources: str) -> CardId:
    connections = {
        name: Source(*text.split(":")) if ":" in text else Source(text, "") for name, text in sources.items()
    }
    slept: list[float] = []
    return new_card(server, "P1", "W1", CardOptions(kind), connections, "cryobridge", QUICK, sleep=slept.append)


def made_cards(server: FakeCryosparc) -> list[Card]:
    return [card for card in server.cards.values() if card.title.startswith("cryobridge")]


def test_a_card_is_described_has_its_inputs_and_is_connected() -> None:
    server = server_with()
    card = server.cards[made(server, volume="J1")]
    assert read_block(card.description).kind == "map.fsc3d"
    assert set(card.inputs) == {"volume", "mask"}
    assert card.inputs["volume"].sources == (Source("J1", "volume", tuple(REFINEMENT.outputs["volume"].results)),)
    assert card.inputs["mask"].sources == ()
    assert "'Kill'" in card.description


@pytest.mark.parametrize("operation", ["create", "set_description", "add_input", "connect", "card", "find"])
@pytest.mark.parametrize("losses", [["after"], ["before"], ["after", "after", "before"], ["before", "after"] * 3])
def test_lost_answers_make_one_card_with_one_connection(operation: str, losses: list[str]) -> None:
    """Trap 5: a lost answer to "create a job" made two cards."""
    server = server_with()
    server.faults[operation] = list(losses)
    if operation == "find":
        server.faults["create"] = ["after"]
    card = made(server, volume="J1")
    assert [one.id for one in made_cards(server)] == [card]
    assert len(server.cards[card].inputs["volume"].sources) == 1
    assert read_block(server.cards[card].description).kind == "map.fsc3d"


def test_two_that_are_made_one_after_the_other_are_two() -> None:
    server = server_with()
    assert made(server) != made(server)


def test_a_server_that_never_answers_is_not_asked_for_ever() -> None:
    server = server_with()
    server.faults["create"] = ["before"] * 1_000_000
    with pytest.raises(Unreachable):
        new_card(
            server,
            "P1",
            "W1",
            CardOptions("map.fsc3d"),
            {},
            "cryobridge",
            CardPatience(server_s=0.2, login_s=0.2, pause_s=0.05, longest_pause_s=0.05),
            sleep=lambda _: None,
        )


def test_a_server_that_refuses_is_asked_once() -> None:
    server = server_with()
    server.faults["create"] = [ServerRefused("P1: no such workspace (HTTP 404)", 404)]
    with pytest.raises(ServerRefused, match="no such workspace"):
        made(server)
    assert server.calls.count("create") == 1


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ({"volumes": "J1"}, "map.fsc3d has no input 'volumes'; it has volume, mask"),
        ({"volume": "J1:map"}, "P1-J1 has no output 'map'; it has volume, mask, particles"),
        ({"volume": "J1:mask"}, "P1-J1:mask is of the type mask, not volume; connect another to 'volume'"),
        ({"volume": "J7"}, "P1-J7 has no output that fits the input 'volume' of map.fsc3d"),
        ({"volume": "J7:volume"}, "P1-J7:volume has no map_half_A; connect another to 'volume'"),
        ({"volume": "J8"}, "P1-J8 has more than one output that fits the input 'volume' of map.fsc3d (J8:a, J8:b)"),
        ({"volume": "J9"}, "it has no outputs"),
        ({"volume": "J99"}, "P1-J99: not found"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence_before_anything_is_made(sources: Any, sentence: str) -> None:
    """C3: a wrong slot is named here, and no opaque error of the server."""
    whole = volume_output("map", "map_half_A", "map_half_B")
    server = server_with(
        bare=card_of(CardId("P1", "J7"), outputs={"volume": volume_output("map")}),
        two=card_of(CardId("P1", "J8"), outputs={"a": whole, "b": whole}),
        none=card_of(CardId("P1", "J9")),
    )
    with pytest.raises(CryobridgeError) as caught:
        made(server, **sources)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert made_cards(server) == []


def test_a_kind_that_does_not_exist_is_said_with_those_that_do() -> None:
    server = server_with()
    with pytest.raises(CryobridgeError, match=r"'map\.corect' is no job for CryoSPARC; there are .*map\.correct"):
        made(server, "map.corect")
    assert server.calls == []


def test_an_output_of_another_job_of_the_same_name_counts_for_itself() -> None:
    server = server_with()
    card = made(server, volume="J1:volume", mask="J1")
    assert [one.output for one in server.cards[card].inputs["mask"].sources] == ["mask"]
    assert issubclass(InputInvalid, CryobridgeError)
