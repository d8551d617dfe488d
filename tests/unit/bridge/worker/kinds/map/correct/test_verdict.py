"""The verdict on a correction: what speaks against it, and how much."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from cryobridge.bridge.worker.kinds.map.correct.verdict import (
    DO_NOT_USE,
    USE,
    USE_WITH_CARE,
    Doubt,
    Evidence,
    Weight,
    verdict,
)

GOOD = Evidence(
    resolution_A=4.0,
    limit_A=4.0,
    changed_well=0.02,
    changed_badly=0.8,
    correlation=0.9,
    outside=0.2,
    spread=0.1,
    loss_first=1.0,
    loss_last=0.7,
    signal_badly=0.6,
)


def test_a_correction_that_nothing_speaks_against_may_be_used() -> None:
    judged = verdict(GOOD)
    assert judged.words == USE
    assert judged.sentence == "Use."
    assert len(judged.reasons) == 1


def test_what_is_not_known_speaks_against_nothing() -> None:
    assert verdict(Evidence(resolution_A=4.0, limit_A=4.0)).words == USE


@pytest.mark.parametrize(
    ("change", "words", "reason"),
    [
        ({"changed_well": 0.2}, USE_WITH_CARE, "20 % of the power of well measured signal"),
        ({"changed_well": 0.7}, DO_NOT_USE, "another map"),
        ({"correlation": 0.3}, DO_NOT_USE, "correlate by 0.30"),
        ({"outside": 0.8}, USE_WITH_CARE, "Outside the mask"),
        ({"spread": 0.6}, USE_WITH_CARE, "depends on chance"),
        ({"loss_last": 1.0}, USE_WITH_CARE, "did not fall"),
        ({"loss_last": math.nan}, DO_NOT_USE, "stopped being a number"),
        ({"limit_A": 3.0}, USE_WITH_CARE, "agree to 4.00 Å only"),
        ({"resolution_A": math.inf}, DO_NOT_USE, "agree at no resolution"),
        ({"signal_badly": 1.6}, USE_WITH_CARE, "1.6 times as strong"),
    ],
)
def test_each_finding_weighs_as_it_should(change: dict[str, Any], words: str, reason: str) -> None:
    judged = verdict(replace(GOOD, **change))
    assert judged.words == words
    assert reason in judged.reasons[0]


def test_a_network_that_had_been_trained_before_need_not_learn() -> None:
    assert verdict(replace(GOOD, loss_last=1.0, warm=True)).words == USE


def test_the_findings_of_other_tests_count_and_the_worst_comes_first() -> None:
    others = [
        Doubt(Weight.CARE, "look again"),
        Doubt(Weight.AGAINST, "it was made up"),
        Doubt(Weight.CARE, "look again"),
    ]
    judged = verdict(GOOD, others)
    assert judged.words == DO_NOT_USE
    assert judged.reasons == ("it was made up", "look again")
