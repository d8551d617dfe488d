"""Tables of particles as CryoSPARC exports them: the group (`.csg`) that its job Import Result Group takes.

What was assumed of its form is said in `result_group`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import yaml

from ...formats.cs_table import UID, slot_of
from .result_group import VERSION

_CLASS = "alignments_class"
_COMPONENTS = "components_mode"


def particle_group(name: str, title: str, tables: Mapping[str, Iterable[str]], count: int) -> str:
    """The text of a group.

    Parameters
    ----------
    tables
        Columns of each table by the name of its file, which lies beside the group; of a slot that is in several the
        first table's counts.
    count
        Number of particles.
    """
    results: dict[str, dict[str, object]] = {}
    for table, columns in tables.items():
        for slot in dict.fromkeys(slot_of(column) for column in columns if column != UID):
            results.setdefault(
                slot, {"metafile": f">{table}", "num_items": count, "type": f"particle.{_type_of(slot)}"}
            )
    group = {
        "created": datetime.now(UTC).replace(tzinfo=None),
        "group": {"description": title, "name": name, "title": title, "type": "particle"},
        "results": results,
        "version": VERSION,
    }
    return yaml.safe_dump(group, allow_unicode=True)


def _type_of(slot: str) -> str:
    """CryoSPARC's type of a slot: most are called as their type is."""
    if slot.startswith(_CLASS):
        return "alignments3D"
    return "components" if slot.startswith(_COMPONENTS) else slot
