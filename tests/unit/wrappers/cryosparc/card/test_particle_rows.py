"""Tables of particles on their way to a server: slots, rows, and columns in the types that are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.result import JobResult, OutputRecord
from cryobridge.wrappers.cryosparc.card.outputs import Placed, planned
from cryobridge.wrappers.cryosparc.card.particle_rows import as_asked, checked_rows, slots_of
from cryobridge.wrappers.cryosparc.recipes import CardRecipe, OutputGroup, Slot

UIDS = np.array([5, 3, 9], np.uint64)
LATENT = {"components_mode_0/component": np.zeros(3), "components_mode_0/value": np.array([1.0, 2.0, 3.0])}


def test_slots_are_known_by_their_name_or_by_their_fields() -> None:
    columns = {"uid": UIDS, **LATENT, "any_name/component": UIDS, "any_name/value": UIDS, "ctf/df1_A": UIDS}
    assert slots_of(columns, "t") == [
        Slot("components_mode_0", "components"),
        Slot("any_name", "components"),
        Slot("ctf", "ctf"),
    ]


@pytest.mark.parametrize("column", ["no_slot", "other/field", "components_mode_0/extra", "ctf"])
def test_a_column_of_no_known_slot_is_refused(column: str) -> None:
    with pytest.raises(InputInvalid, match="none that particles of CryoSPARC have"):
        slots_of({"uid": UIDS, **LATENT, column: UIDS}, "t")


def test_rows_are_some_of_those_that_are_known_in_any_order() -> None:
    known = np.array([9, 1, 3, 5], np.uint64)
    assert checked_rows({"uid": UIDS}, known, "t").tolist() == [5, 3, 9]
    assert checked_rows({"uid": UIDS}, None, "t").tolist() == [5, 3, 9]
    with pytest.raises(InputInvalid, match="1 of its 3 particles are none of those"):
        checked_rows({"uid": UIDS}, known[1:], "t")
    with pytest.raises(InputInvalid, match="no particles"):
        checked_rows({"uid": UIDS[:0]}, known, "t")
    with pytest.raises(InputInvalid, match="row 2 is inf"):
        checked_rows({"uid": UIDS, "a/b": np.array([0, np.inf, 0])}, known, "t")


def test_columns_come_in_the_types_that_are_asked_for() -> None:
    asked = {"uid": "u8", "components_mode_0/component": "u4", "components_mode_0/value": "f4", "blob/path": "O"}
    given = {"uid": UIDS, **LATENT, "blob/path": np.array(["a", "b", "c"])}
    found = as_asked(given, asked, "t")
    assert list(found) == list(asked)[1:]
    assert found["components_mode_0/component"].dtype == np.uint32
    assert found["components_mode_0/value"].dtype == np.float32
    assert found["blob/path"].dtype == object


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"components_mode_0/component": "u4"}, "no column 'components_mode_0/value'"),
        (
            {"components_mode_0/component": "u4", "components_mode_0/value": "f4", "ctf/type": "O"},
            "lacks .* 'ctf/type'",
        ),
        ({"components_mode_0/component": "u4", "components_mode_0/value": "2f4"}, "is not 2f4"),
        ({"components_mode_0/component": "u4", "components_mode_0/value": "what"}, "which cryobridge does not know"),
    ],
)
def test_a_column_too_few_too_many_or_of_another_form_is_named(asked: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputInvalid, match=sentence):
        as_asked({"uid": UIDS, **LATENT}, asked, "t")


@pytest.mark.parametrize(("value", "dtype"), [(1.5, "u4"), (-1.0, "u4"), (1e300, "f4"), (2.0**40, "u4")])
def test_a_number_that_its_type_cannot_hold_is_refused_with_its_row(value: float, dtype: str) -> None:
    with pytest.raises(InputInvalid, match="of row 2 is"):
        as_asked({"uid": UIDS, "a/b": np.array([0, value, 0])}, {"a/b": dtype}, "t")


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        (["sample_10.mrc", "sample_9.mrc"], ["sample_9", "sample_10"]),
        (["sample_a.mrc", "sample_b c.mrc"], ["sample_1", "sample_2"]),
        ([], []),
    ],
)
def test_files_with_numbers_are_outputs_under_names_that_are_fit(names: list[str], outputs: list[str]) -> None:
    group = OutputGroup("sample", "volume", "Sample", ((Slot("map", "blob"), "sample"),), None, "sample_*.mrc")
    record = OutputRecord(path="x", sha256="0" * 64, size_bytes=1, type="map", role="sample")
    result = JobResult.model_construct(outputs=dict.fromkeys(names, record))
    placed = {name: Placed(Path(name), name) for name in names}
    found = planned(CardRecipe("k", "h", (), (group,)), result, placed)
    assert [one.group.name for one in found] == outputs
    assert all(one.group.passthrough is None for one in found)
