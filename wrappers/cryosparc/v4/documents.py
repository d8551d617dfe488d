"""What CryoSPARC 4 says of a job, in the bridge's words.

Names of fields are those that the client's source 4.7.1 declares; not tried on a real instance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..documents import Card, CardId, CardInput, CardOutput, Source
from ..recipes import InputGroup, Slot

Document = Mapping[str, Any]


def card_of(card: CardId, document: Document, updated_at: datetime) -> Card:
    """A job.

    Parameters
    ----------
    updated_at
        When it was first seen to be so (`fingerprint`); the documents do not tell it.

    Raises
    ------
    KeyError, TypeError
        If the document is of another shape than the client's source says.
    """
    return Card(
        id=card,
        type=str(document.get("job_type") or document["type"]),
        title=document.get("title") or "",
        description=document.get("description") or "",
        status=str(document["status"]),
        # The client takes it to be so.
        directory=card.job,
        tags=(),
        inputs={
            str(one["name"]): CardInput(tuple(map(_source, one["connections"])))
            for one in document["input_slot_groups"]
        },
        outputs={
            str(one["name"]): CardOutput(str(one["type"]), tuple(str(result["name"]) for result in one["contains"]))
            for one in document["output_result_groups"]
        },
        complaints=(),
        updated_at=updated_at,
    )


def fingerprint(document: Document) -> bytes:
    """A digest of all that a user, or another job, can change of a card; the same while nothing has changed."""
    keys = ("title", "description", "status", "deleted", "parents", "input_slot_groups", "output_result_groups")
    told = json.dumps({key: document.get(key) for key in keys}, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).digest()


def output_fields(document: Document, name: str) -> list[tuple[str, str]]:
    """Columns that an output must have, with their types: those of its own results, not of what it passes through."""
    return [
        (f"{result['name']}/{field}", str(dtype))
        for result in document["output_results"]
        if result["group_name"] == name and not result.get("passthrough")
        for field, dtype in result["min_fields"]
    ]


def output_tables(document: Document, name: str) -> tuple[list[str], list[str]]:
    """Files of an output's last version, relative to the project: its own, and those that it passed through."""
    own: dict[str, None] = {}
    passed: dict[str, None] = {}
    for result in document["output_results"]:
        files = result.get("metafiles") or ()
        if result["group_name"] != name or not files:
            continue
        if result.get("passthrough"):
            passed[str(files[0])] = None
        else:
            own[str(files[-1])] = None
    return list(own), [one for one in passed if one not in own]


def own_slots(document: Document, name: str) -> set[str] | None:
    """Slots of an output that are its own; None where there is no such output."""
    for group in document["output_result_groups"]:
        if group["name"] == name:
            return {str(one["name"]) for one in group["contains"] if not one.get("passthrough")}
    return None


def input_slots(group: InputGroup) -> list[dict[str, object]]:
    """Slots of an input as they are declared."""
    return [_slot(one, required=one.required) for one in group.slots]


def output_slots(slots: Sequence[Slot]) -> list[dict[str, object]]:
    """Slots of an output as they are declared."""
    return [_slot(one, required=True) for one in slots]


def _slot(slot: Slot, *, required: bool) -> dict[str, object]:
    """In documents its type has that of its group before it (volume.blob); where it is declared it has not."""
    return {"dtype": slot.dtype, "prefix": slot.name, "required": required}


def _source(connection: Document) -> Source:
    # What is passed through has no slot of the input's own.
    results = tuple(str(one.get("slot_name") or one["result_name"]) for one in connection["slots"])
    return Source(str(connection["job_uid"]), str(connection["group_name"]), results)
