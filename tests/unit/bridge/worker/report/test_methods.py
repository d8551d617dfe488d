"""The methods text says what was done, and cites what it names and nothing else."""

from __future__ import annotations

import dataclasses
import re

import pytest

from cryobridge import __version__
from cryobridge.bridge.worker.report import citations, methods
from cryobridge.bridge.worker.report.citations import Citation
from cryobridge.bridge.worker.report.statements import independence

TRAINING = methods.TrainingFacts(
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
    "fsc": methods.fsc(masked=True, randomised_from_A=6.0),
    "fsc plain": methods.fsc(masked=False),
    "3dfsc": methods.directional_fsc("phase_cosine", 10.0, 3.4),
    "3dfsc sums": methods.directional_fsc("sum_ratio", 20.0, 3.4),
    "conical": methods.conical_fsc(500, 20.0),
    "sampling": methods.sampling(10_000, "D7"),
    "correction": methods.correction(TRAINING),
    "by c_ref": methods.correction(dataclasses.replace(TRAINING, weight="c_ref")),
    "published": methods.correction(
        dataclasses.replace(TRAINING, norm="batch", loss="published", mode="independent", weight="none")
    ),
    "fill": methods.combination("fill", 3.4),
    "as published": methods.combination("published", 3.4),
    "reference": methods.reference(10.0),
    "hold-out": methods.hold_out(20.0),
    "controls": methods.controls(),
    "whitening": methods.whitening("radial", 10.0, 3.0),
    "angular": methods.whitening("angular", 10.0, 3.0),
    "combined": methods.combined_maps(10.0),
    "post": methods.postprocessing(-80.0, 3.1, fitted=True),
    "flat": methods.postprocessing(None, 3.1, fitted=False),
    "display": methods.display(),
}
ALL_WORKS = [value for value in vars(citations).values() if isinstance(value, Citation)]


@pytest.mark.parametrize("passage", PASSAGES.values(), ids=PASSAGES)
def test_a_passage_cites_exactly_the_works_it_names(passage):
    assert {work.short for work in ALL_WORKS if work.short in passage.text} == {work.short for work in passage.works}
    assert passage.text.endswith(".")


def test_every_work_is_cited_by_something():
    assert {work.short for passage in PASSAGES.values() for work in passage.works} == {work.short for work in ALL_WORKS}


@pytest.mark.parametrize("work", ALL_WORKS, ids=lambda work: work.short)
def test_a_work_can_be_found(work):
    assert re.match(r"https://(doi\.org/10\.\d{4}/|arxiv\.org/abs/\d{4}\.\d{5}$|guide\.cryosparc\.com/)", work.url)
    year = re.search(r"\d{4}", work.short)
    assert year is None or f"({year[0]})" in work.entry


def test_references_are_listed_once_in_the_order_of_the_text():
    paragraphs, works = methods.write([PASSAGES["3dfsc"], PASSAGES["fsc"], PASSAGES["3dfsc sums"]])
    assert [work.short for work in works] == [
        "Liu et al. 2025",
        "Tan et al. 2017",
        "Scheres & Chen 2012",
        "Chen et al. 2013",
        "Rosenthal & Henderson 2003",
    ]
    assert len(paragraphs) == 4
    assert f"cryobridge {__version__}" in paragraphs[-1]


@pytest.mark.parametrize(
    ("changes", "words", "absent"),
    [
        ({}, "one network was trained on both half-maps", "of its own"),
        ({"mode": "independent"}, "a network of its own", "Lehtinen"),
        ({}, "600 steps of 4 crops of 24 voxels a side", "Point group"),
        ({}, "learning rate of 0.003, seed 7", "mean of"),
        ({"symmetry": "D7"}, "Point group D7 was imposed", "mean of"),
        ({"ensemble": 3}, "mean of 3 networks", "Point group"),
        ({"weight": "none"}, "only denoises", "3DFSC"),
        ({"norm": "none"}, "no normalisation", "Wu & He"),
    ],
)
def test_the_training_is_told_as_it_was(changes, words, absent):
    text = methods.correction(dataclasses.replace(TRAINING, **changes)).text
    assert words in text
    assert absent not in text


def test_sharpening_is_told_as_it_was():
    assert "B-factor of -80 Å² (fitted" in methods.postprocessing(-80.0, 3.1, fitted=True).text
    assert "(as given)" in methods.postprocessing(-80.0, 3.1, fitted=False).text
    assert "made flat" in methods.postprocessing(None, 3.1, fitted=False).text
    only_weighted = methods.postprocessing(None, 3.1, fitted=False, sharpened=False).text
    assert "flat" not in only_weighted
    assert "B-factor" not in only_weighted


def test_statements_on_independence():
    assert "not a resolution" in independence("shared")[0]
    assert "never saw the other half" in independence("independent")[0]
    assert len(independence("shared", weight_from_both=True, pretrained=True)) == 1, "nothing is left to lose"
    both = independence("independent", weight_from_both=True, reference_resolution_A=10.0, pretrained=True)
    assert [word in line for word, line in zip(("network", "3DFSC", "10 Å", "trained before"), both, strict=True)] == [
        True
    ] * 4
