"""Documents of CryoSPARC 4 as cards: slots, what was passed through, columns, files, and what counts as a change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.recipes import InputGroup, Slot
from cryobridge.wrappers.cryosparc.v4.documents import (
    card_of,
    fingerprint,
    input_slots,
    output_fields,
    output_slots,
    output_tables,
    own_slots,
)

CARD = CardId("P1", "J2")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def result(name: str, files: list[str], *, passthrough: bool = False, group: str = "volume") -> dict[str, Any]:
    return {
        "name": name,
        "group_name": group,
        "type": "volume.blob",
        "metafiles": files,
        "min_fields": [["path", "O"], ["shape", "3u4"]],
        "passthrough": passthrough,
    }


def document(**changes: object) -> dict[str, Any]:
    results = [
        result("map", ["J2/J2_000.cs", "J2/J2_001.cs"]),
        result("map_half_A", ["J2/J2_passthrough.cs"], passthrough=True),
    ]
    slots = [
        {"slot_name": "map_half_A", "result_name": "map_half_B", "group_name": "volume", "job_uid": "J1"},
        {"slot_name": None, "result_name": "mask_fsc", "group_name": "volume", "job_uid": "J1"},
    ]
    return {
        "type": "snowflake",
        "job_type": "snowflake",
        "title": None,
        "description": None,
        "status": "building",
        "parents": ["J1"],
        "workspace_uids": ["W1"],
        "input_slot_groups": [
            {
                "name": "volume",
                "type": "volume",
                "count_min": 1,
                "connections": [{"job_uid": "J1", "group_name": "volume", "slots": slots}],
            },
            {"name": "mask", "type": "mask", "count_min": 0, "connections": []},
        ],
        "output_result_groups": [
            {"name": "volume", "type": "volume", "contains": results, "passthrough": "volume", "summary": {"n": 1}}
        ],
        "output_results": results,
        **changes,
    }


def test_an_input_has_what_is_connected_under_its_own_names() -> None:
    card = card_of(CARD, document(), NOW)
    assert card.is_external
    assert (card.title, card.description, card.directory, card.tags) == ("", "", "J2", ())
    (source,) = card.inputs["volume"].sources
    assert (source.job, source.output, source.results) == ("J1", "volume", ("map_half_A", "mask_fsc"))
    assert (card.outputs["volume"].type, card.outputs["volume"].results) == ("volume", ("map", "map_half_A"))


def test_columns_are_those_of_its_own_results() -> None:
    assert output_fields(document(), "volume") == [("map/path", "O"), ("map/shape", "3u4")]
    assert output_fields(document(), "other") == []
    assert own_slots(document(), "volume") == {"map"}
    assert own_slots(document(), "other") is None


def test_files_are_the_last_version_of_its_own_and_what_was_passed_through() -> None:
    assert output_tables(document(), "volume") == (["J2/J2_001.cs"], ["J2/J2_passthrough.cs"])
    assert output_tables(document(output_results=[result("map", [])]), "volume") == ([], [])


def test_slots_are_declared_by_type_and_place() -> None:
    group = InputGroup("volume", "volume", "", True, (Slot("map_half_A", "blob"), Slot("mask", "blob", False)), ())
    assert input_slots(group) == [
        {"dtype": "blob", "prefix": "map_half_A", "required": True},
        {"dtype": "blob", "prefix": "mask", "required": False},
    ]
    assert output_slots([Slot("mask", "blob", required=False)]) == [
        {"dtype": "blob", "prefix": "mask", "required": True}
    ]


@pytest.mark.parametrize(
    "change", [{"title": "go"}, {"status": "killed"}, {"input_slot_groups": []}, {"deleted": True}]
)
def test_what_a_user_changes_is_seen(change: dict[str, Any]) -> None:
    assert fingerprint(document(**change)) != fingerprint(document())


def test_what_the_server_notes_for_itself_is_no_change() -> None:
    assert fingerprint(document(last_accessed="now", size=3)) == fingerprint(document())


@pytest.mark.parametrize("key", ["status", "input_slot_groups", "output_result_groups"])
def test_a_document_of_another_shape_is_not_guessed_at(key: str) -> None:
    wrong = document()
    del wrong[key]
    with pytest.raises(KeyError):
        card_of(CARD, wrong, NOW)
