"""Named values of the hook: they behave as the dataclasses that type checkers take them for."""

import pytest

from cryobridge.schemas.values import FixedValues, Values


class Place(Values):
    folder: str
    depth: int = 2


class Fixed(FixedValues):
    name: str
    half: int = 0

    @property
    def label(self) -> str:
        return f"{self.name}{self.half}"


class Wider(Fixed):
    silence_s: float = 15.0


def test_fields_come_by_place_or_by_name_and_defaults_fill_the_rest():
    assert vars(Place("here")) == {"folder": "here", "depth": 2}
    assert vars(Place("here", depth=3)) == {"folder": "here", "depth": 3}
    assert vars(Wider("a", 1, 2.0)) == {"name": "a", "half": 1, "silence_s": 2.0}
    assert Wider(half=2, name="a").label == "a2"


@pytest.mark.parametrize(
    ("given", "named"),
    [((), {}), (("a", 1, 2.0, 3), {}), (("a",), {"name": "b"}), (("a",), {"speed": 1}), ((), {"half": 1})],
    ids=["missing", "too many", "twice", "strange", "required one missing"],
)
def test_fields_that_do_not_fit_are_refused(given, named):
    with pytest.raises(TypeError, match="Wider"):
        Wider(*given, **named)


def test_values_are_compared_by_class_and_values():
    assert Fixed("a", 1) == Fixed("a", 1)
    assert Fixed("a", 1) != Fixed("a", 2)
    assert Wider("a", 1) != Fixed("a", 1)
    assert {Fixed("a"): 1}[Fixed("a", 0)] == 1
    assert repr(Place("here")) == "Place(folder='here', depth=2)"


def test_fixed_values_stay_and_others_may_be_set_but_are_no_keys():
    place = Place("here")
    place.depth = 5
    assert place.depth == 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(place)
    with pytest.raises(AttributeError, match="half cannot be changed"):
        Fixed("a").half = 1  # type: ignore[misc]
