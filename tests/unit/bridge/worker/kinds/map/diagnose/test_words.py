"""The words of a diagnosis say what was done, cite what they name, and follow the numbers."""

from __future__ import annotations

import math

import pytest
from support.literature import cites_what_it_names, works_in
from support.reading import is_read

from cryobridge.bridge.worker.kinds.map.diagnose import words

INF, NAN = math.inf, math.nan

PASSAGES = {
    "conical": words.conical_fsc(500, 20.0),
    "hold-out": words.hold_out(20.0),
    "controls": words.controls(),
}
READINGS = [
    # what is read, with what, words that must be there, whether it warns
    ("read_cfar", (0.5,), "no direction falls far behind", False),
    ("read_cfar", (0.49,), "very unequally", True),
    ("read_cfar", (NAN,), "could not", False),
    ("read_cfar", (0.7, 0.9), "neither the views nor the signal", False),
    ("read_cfar", (0.7, 0.5), "look at the distribution", False),
    ("read_cfar", (0.2, 0.9), "particles that are not good", True),
    ("read_cfar", (0.2, 0.5), "views are missing", True),
    ("read_cfar", (0.2, NAN), "very unequally", True),
    ("read_hold_out", (0.3, 0.5), "from 0.30 to 0.50: the correction brought back", False),
    ("read_hold_out", (0.3, 0.31), "neither found nor lost", False),
    ("read_hold_out", (0.3, 0.2), "made it worse", True),
    ("read_hold_out", (NAN, 0.2), "could not be scored", False),
    ("read_noise_control", (0.0, 0.01), "invents nothing", False),
    ("read_noise_control", (0.0, 0.3), "invents structure", True),
    ("read_noise_control", (0.3, 0.31), "invents nothing", False),
    ("read_noise_control", (-0.3, 0.01), "invents nothing", False),
    ("read_noise_control", (0.0, NAN), "could not be scored", False),
    ("read_phase_control", (0.4, 0.02), "comes from the data", False),
    ("read_phase_control", (0.4, 0.3), "the network's own", True),
    ("read_phase_control", (NAN, 0.3), "could not be scored", False),
]


@pytest.mark.parametrize("passage", PASSAGES.values(), ids=PASSAGES)
def test_a_passage_cites_exactly_the_works_it_names(passage):
    cites_what_it_names(passage)


def test_every_work_of_this_kind_is_cited_by_something():
    cited = {work.short for passage in PASSAGES.values() for work in passage.works}
    assert {work.short for work in works_in(words)} <= cited


@pytest.mark.parametrize(("name", "numbers", "said", "warns"), READINGS)
def test_reading(name, numbers, said, warns):
    is_read(getattr(words, name)(*numbers), said, warns=warns)


def test_what_the_hold_out_is_worth_is_said_in_the_figures_that_were_measured():
    said = words.hold_out_worth()
    assert "found gains of 0.101, −0.004 and 0.133" in said
    assert "the true ones were 0.097, 0.006 and 0.201" in said
    assert "factor" not in said, "one of the three is off by more than one and a half"
    assert max(max(true / found, found / true) for true, found in words.HOLD_OUT_TRIED if found > 0) > 1.5


def test_every_reading_is_tried():
    assert {name for name in vars(words) if name.startswith("read_")} == {name for name, *_ in READINGS}
