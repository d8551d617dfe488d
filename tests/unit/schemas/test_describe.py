"""A model is described once: every field, what it may hold, and what it is where nobody chooses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import AliasChoices, Field
from support.made_up_kind import made_up_kind

from cryobridge.schemas.config import DaemonConfig
from cryobridge.schemas.describe import FieldDescription, KindDescription, describe_kind, fields_of, nested
from cryobridge.schemas.envelope import JOB_MODELS, Inputs, Job, Options
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.validation import StrictModel


class Model(StrictModel):
    """One field of each type."""

    resolution_A: float | None = Field(
        None, gt=0, le=50, validation_alias=AliasChoices("resolution_A", "res"), description="how fine", examples=[4.0]
    )
    angle_deg: float = 10.0
    fast: bool = True
    count: int
    form: Literal["round", "square"] = "round"
    name: str = "x"
    tags: list[str] = Field(default_factory=list)
    table: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def group_of(cls, field: str) -> str:
        """One field stands apart."""
        return "Apart" if field == "fast" else ""

    @classmethod
    def defaults_on(cls, device: str) -> dict[str, object]:
        """One default depends on the device."""
        return {"angle_deg": 20.0} if device == "cuda" else {}


@pytest.fixture
def by_key() -> dict[str, FieldDescription]:
    return {field.key: field for field in fields_of(Model)}


@pytest.fixture
def made_up() -> Iterator[KindDescription]:
    with made_up_kind() as model:
        yield describe_kind(model)


def test_types_follow_the_annotations(by_key: dict[str, FieldDescription]) -> None:
    assert {key: field.type for key, field in by_key.items()} == {
        "resolution_A": "number",
        "angle_deg": "number",
        "fast": "flag",
        "count": "integer",
        "form": "choice",
        "name": "text",
        "tags": "list",
        "table": "table",
    }
    assert by_key["form"].choices == ("round", "square")
    assert by_key["fast"].is_flag


def test_a_number_or_a_word_is_a_text_to_a_command_line() -> None:
    class Loose(StrictModel):
        beta: Annotated[float, Field(ge=0)] | Literal["a", "b"] | None = None

    [field] = fields_of(Loose)
    assert (field.type, field.choices, field.bounds) == ("text", ("a", "b"), (("≥", 0),))


def test_names_bounds_units_and_examples(by_key: dict[str, FieldDescription]) -> None:
    field = by_key["resolution_A"]
    assert (field.aliases, field.unit, field.bounds, field.help) == (
        ("res",),
        "Å",
        ((">", 0), ("≤", 50)),
        "how fine",
    )
    assert field.example == 4.0
    assert [by_key[key].unit for key in ("angle_deg", "count", "fast")] == ["°", "", ""]


def test_defaults_depend_on_the_device_where_the_model_says_so(by_key: dict[str, FieldDescription]) -> None:
    angle = by_key["angle_deg"]
    assert (angle.default_on_cpu, angle.default_on_gpu, angle.depends_on_device) == (10.0, 20.0, True)
    assert not by_key["form"].depends_on_device
    assert by_key["count"].required
    assert by_key["count"].default_on_cpu is None


def test_groups_are_the_models_own(by_key: dict[str, FieldDescription]) -> None:
    assert by_key["fast"].group == "Apart"
    assert by_key["name"].group == ""


def test_models_inside_are_described_under_dotted_keys() -> None:
    keys = [field.key for field in fields_of(DaemonConfig)]
    assert "deadlines.correct_s" in keys
    assert "deadlines" not in keys


def test_inputs_of_all_sorts_are_told_apart(made_up: KindDescription) -> None:
    assert {field.key: (field.type, field.required) for field in made_up.inputs if field.key != "pairs"} == {
        "map": ("file", True),
        "movies": ("folder", False),
        "refinement": ("run_folder", False),
        "gain.reference": ("file", False),
        "tilt_series": ("files", True),
    }
    assert made_up.summary == "Do something that nobody needs"


def test_an_example_is_a_job(made_up: KindDescription) -> None:
    assert parse_job(made_up.example(), "example").kind == "made.up"


def test_dotted_keys_become_values_inside_values() -> None:
    assert nested({"a": 1, "b.c": 2, "b.d.e": 3}) == {"a": 1, "b": {"c": 2, "d": {"e": 3}}}


def test_a_name_is_taken_once() -> None:
    taken = pytest.raises(TypeError, match=r"kind made\.up: .*MadeUpJob has this name already")
    with made_up_kind(), taken, made_up_kind():
        pass
    assert "made.up" not in JOB_MODELS


def test_a_class_without_a_name_is_a_base_of_kinds_and_no_kind() -> None:
    before = dict(JOB_MODELS)

    class Base(Job):
        """What some kinds have in common."""

        shares_devices: ClassVar[bool] = True

    assert before == JOB_MODELS
    assert Base.shares_devices
    with pytest.raises(TypeError, match="abstract"):
        Base(kind="x", inputs=Inputs(), output=Path("o"), options=Options())


def test_nobody_but_schemas_looks_into_the_fields_of_a_model(repository: Path) -> None:
    looks = re.compile(r"model_fields\b|get_args|get_origin|\.annotation\b")
    found = [
        str(path.relative_to(repository))
        for folder in ("bridge", "core", "wrappers")
        for path in (repository / folder).rglob("*.py")
        if looks.search(path.read_text())
    ]
    assert found == []
