"""The words of a correction say what was done, cite what they name, and follow the numbers."""

from __future__ import annotations

import dataclasses
import math

import pytest
from support.literature import cites_what_it_names, works_in
from support.reading import is_read

from cryobridge.bridge.worker.kinds.map.correct import words

INF, NAN = math.inf, math.nan
TRAINING = words.TrainingFacts(
    base_width=16,
    norm="group",
    loss="improved",
    mode="shared",
    steps=600,
    batch=4,
    cube_size=24,
    learning_rate=3e-3,
    seed=7,
)

PASSAGES = {
    "correction": words.correction(TRAINING),
    "by c_ref": words.correction(dataclasses.replace(TRAINING, weight="c_ref")),
    "published": words.correction(
        dataclasses.replace(TRAINING, norm="batch", loss="published", mode="independent", weight="none")
    ),
    "as it came": words.correction(dataclasses.replace(TRAINING, steps=0, start="pretrained")),
    "fill": words.combination("fill", 3.4),
    "as published": words.combination("published", 3.4),
    "reference": words.reference(10.0),
}
READINGS = [
    # what is read, with what, words that must be there, whether it warns
    ("read_shared_network", (4.0, 3.2), "This is not a resolution", False),
    ("read_shared_network", (4.0, 3.2), "Quote 4.00 Å", False),
    ("read_independent_networks", (4.0, 3.9), "neither network saw the other half", False),
    ("read_sharpening", (-85.4, 3.1), "-85 Å² was applied; the map ends at 3.10 Å", False),
    ("read_sharpening", (20.0, 3.1), "blurs", True),
    ("read_sharpening", (None, 3.1), "made flat", False),
    ("read_spread", (0.1, 3), "3 networks from different seeds differ by 10 %", False),
    ("read_spread", (0.7, 3), "depends on chance", True),
    ("read_similarity", (0.99,), "barely (correlation 0.990", False),
    ("read_similarity", (0.9,), "visibly", False),
    ("read_similarity", (0.5,), "strongly", False),
    ("read_similarity", (NAN,), "one grey scale", False),
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


def test_every_reading_is_tried():
    assert {name for name in vars(words) if name.startswith("read_")} == {name for name, *_ in READINGS}


@pytest.mark.parametrize(
    ("changes", "said", "absent"),
    [
        ({}, "one network was trained on both half-maps", "of its own"),
        ({"mode": "independent"}, "a network of its own", "Lehtinen"),
        ({}, "600 steps of 4 crops of 24 voxels a side", "Point group"),
        ({}, "learning rate of 0.003, seed 7", "mean of"),
        ({"symmetry": "D7"}, "Point group D7 was imposed", "mean of"),
        ({"ensemble": 3}, "mean of 3 networks", "Point group"),
        ({"weight": "none"}, "only denoises", "3DFSC"),
        ({"norm": "none"}, "no normalisation", "Wu & He"),
        ({"start": "pretrained"}, "it began with what it had learned from simulated half-maps", "as it came"),
        ({"start": "given"}, "it began with what it had learned before", "simulated"),
        ({"steps": 0, "start": "pretrained"}, "used as it came, without training", "0 steps"),
        ({"steps": 0, "start": "pretrained"}, "learned before, from simulated half-maps", "learning rate"),
        ({"steps": 0, "start": "pretrained"}, "of base width 16", "one network was trained"),
        ({"steps": 0, "start": "given"}, "on data that this job does not know", "self-supervised"),
        ({"steps": 0, "weight": "noise"}, "a level spectrum", "a voxel counts by"),
        ({"steps": 0, "weight": "fsc3d", "symmetry": "D7"}, "Point group D7 was imposed", "Loshchilov"),
    ],
)
def test_the_training_is_told_as_it_was(changes, said, absent):
    text = words.correction(dataclasses.replace(TRAINING, **changes)).text
    assert said in text
    assert absent not in text


def test_statements_on_independence():
    assert "not a resolution" in words.independence("shared")[0]
    assert "never saw the other half" in words.independence("independent")[0]
    for mode in ("shared", "independent"):
        (untrained,) = words.independence(mode, trained=False)
        assert "without training" in untrained
        assert "saw" not in untrained
    assert "not a resolution" in words.independence("shared", trained=False)[0]
    assert len(words.independence("shared", weight_from_both=True, pretrained=True)) == 1, "nothing is left to lose"
    untouched = [words.independence(mode, untouched=True) for mode in ("shared", "independent")]
    assert all("neither half-map" in lines[0] for lines in untouched)
    assert [len(lines) for lines in untouched] == [2, 1], "only shared halves scale each other"
    both = words.independence("independent", weight_from_both=True, reference_resolution_A=10.0, pretrained=True)
    assert [said in line for said, line in zip(("network", "3DFSC", "10 Å", "trained before"), both, strict=True)] == [
        True
    ] * 4
