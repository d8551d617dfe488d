"""Readings follow the numbers, on both sides of every threshold and for numbers that are none."""

from __future__ import annotations

import math

import pytest
from support.reading import is_read

from cryobridge.bridge.worker.report import readings

INF, NAN = math.inf, math.nan

CASES = [
    # what is read, with what, words that must be there, whether it warns
    ("fsc", (3.2, 1.0, 0.01), "agree to 3.20 Å (FSC 0.143)", False),
    ("fsc", (2.05, 1.0, 0.05), "limited by the pixel size", False),
    ("fsc", (2.2, 1.0, 0.05), "agree to 2.20 Å", False),
    ("fsc", (2.0, 1.0, 0.62), "never falls below 0.143; at Nyquist (2.00 Å) it is 0.62", True),
    ("fsc", (4.0, 1.0, 0.3), "agree to 4.00 Å", False),
    ("fsc", (INF, 1.0, 0.0), "agree in no shell", True),
    ("fsc", (NAN, 1.0, NAN), "could not be computed", True),
    ("mask_effect", (3.0, 3.1), "adds little", False),
    ("mask_effect", (3.0, 3.5), "too tight or too sharp. Quote 3.50 Å", True),
    ("mask_effect", (INF, INF), "not measured", False),
    ("anisotropy", (3.0, 4.3, 0.82), "to 3.00 Å in its best direction and to 4.30 Å in its worst", False),
    ("anisotropy", (3.0, 4.3, 0.82), "sphericity 0.82: moderately anisotropic", False),
    ("anisotropy", (3.0, 3.1, 0.97), "nearly isotropic", False),
    ("anisotropy", (3.0, 3.1, 0.90), "mildly anisotropic", False),
    ("anisotropy", (3.0, 9.0, 0.6), "strongly anisotropic", True),
    ("anisotropy", (3.0, INF, 0.9), "not at all in its worst", True),
    ("anisotropy", (INF, INF, None), "In no direction", True),
    ("anisotropy", (3.0, 4.0, None), "has no sphericity", False),
    ("anisotropy", (3.0, 4.0, NAN), "has no sphericity", False),
    ("directions", (3.0, 6.0, 0.5), "a factor of 2.00", False),
    ("directions", (3.0, INF, NAN), "nothing is measured", True),
    ("sampling", (0.81, 0.0), "well enough; 0.0 %", False),
    ("sampling", (0.80, 0.2), "badly sampled; 20 %", True),
    ("sampling", (NAN, 0.2), "could not", False),
    ("two_fold", ("D7",), "with a two-fold on x", False),
    ("view_density", ([1.0] * 100,), "Half of the views lie in 50 % of all directions", False),
    ("view_density", ([10.0] * 10 + [0.0] * 90,), "in 5.0 % of all directions", False),
    ("view_density", ([10.0] * 10 + [0.0] * 90,), "90 % of the directions hold none", False),
    ("view_density", ([],), "no views", False),
    ("change", (0.02, 0.4), "40 % of the power that was there in badly measured directions, and to 2.0 % in", False),
    ("change", (0.2, 0.4), "well measured signal was altered", True),
    ("loss", ([],), "No training", False),
    ("loss", ([2.0] * 10 + [1.0] * 10,), "fell from 2.000 to 1.000 in 20 steps", False),
    ("loss", ([1.0] * 20,), "did not fall", True),
    ("loss", ([1.0] * 10 + [1.5] * 10,), "did not fall", True),
    ("loss", ([2.0, NAN],), "stopped being a number", True),
    ("loss", ([2.0] * 10 + [1.0] * 10, [2.0, 1.5, 1.2]), "kept out of training fell with it", False),
    ("loss", ([2.0] * 10 + [1.0] * 10, [2.0, 1.2, 1.5]), "lowest at look 2 of 3", True),
    ("loss", ([2.0] * 10 + [1.0] * 10, [2.0]), "in 20 steps.", False),
]


@pytest.mark.parametrize(("name", "numbers", "words", "warns"), CASES)
def test_reading(name, numbers, words, warns):
    is_read(getattr(readings, name)(*numbers), words, warns=warns)


def test_few_views_and_one_view_have_no_verdict():
    few = readings.sampling(0.3, 0.5, enough=False)
    assert "no verdict" in few
    assert "trouble" not in few
    one = readings.sampling(0.007, 0.99, enough=False, one_view=True)
    assert "not aligned in 3D" in one
    assert few.warns
    assert one.warns


@pytest.mark.parametrize("group", ["C3", "D2", "D4", "O", "I1", "C1"])
def test_groups_that_all_programs_orient_alike_need_no_word(group):
    assert readings.two_fold(group) is None


def test_a_network_that_was_trained_before_may_rest():
    line = readings.loss([1.0] * 20, warm=True)
    assert "all it could before" in line
    assert not line.warns


def test_every_reading_is_tried():
    functions = {
        name
        for name, value in vars(readings).items()
        if callable(value) and getattr(value, "__module__", "") == readings.__name__ and name[0].islower()
    }
    assert functions - {"alarms"} == {name for name, *_ in CASES}


def test_alarms_are_the_readings_that_warn_each_once():
    bad, good = readings.sampling(0.2, 0.5), readings.sampling(0.9, 0.0)
    assert readings.alarms([good, bad, "plain text", bad]) == [str(bad)]
