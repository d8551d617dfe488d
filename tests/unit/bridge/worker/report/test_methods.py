"""The methods text says what was done, and cites what it names and nothing else."""

from __future__ import annotations

import re

import pytest
from support.literature import ALL_WORKS, cites_what_it_names, works_in

from cryobridge import __version__
from cryobridge.bridge.worker.report import citations, methods

PASSAGES = {
    "by direction": methods.resolution_by_direction(20.0),
    "fsc": methods.fsc(masked=True, randomised_from_A=6.0),
    "fsc plain": methods.fsc(masked=False),
    "3dfsc": methods.directional_fsc("phase_cosine", 10.0, 3.4),
    "3dfsc sums": methods.directional_fsc("sum_ratio", 20.0, 3.4),
    "sampling": methods.sampling(10_000, "D7"),
    "whitening": methods.whitening("radial", 10.0, 3.0),
    "angular": methods.whitening("angular", 10.0, 3.0),
    "post": methods.postprocessing(-80.0, 3.1, fitted=True),
    "flat": methods.postprocessing(None, 3.1, fitted=False),
    "display": methods.display(),
}


@pytest.mark.parametrize("passage", PASSAGES.values(), ids=PASSAGES)
def test_a_passage_cites_exactly_the_works_it_names(passage):
    cites_what_it_names(passage)


def test_every_work_is_cited_by_something():
    assert {work.short for passage in PASSAGES.values() for work in passage.works} == {
        work.short for work in works_in(citations)
    }


@pytest.mark.parametrize("work", ALL_WORKS, ids=lambda work: work.short)
def test_a_work_can_be_found(work):
    assert re.match(r"https://(doi\.org/10\.\d{4,9}/|arxiv\.org/abs/\d{4}\.\d{5}$|guide\.cryosparc\.com/)", work.url)
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


def test_sharpening_is_told_as_it_was():
    assert "B-factor of -80 Å² (fitted" in methods.postprocessing(-80.0, 3.1, fitted=True).text
    assert "(as given)" in methods.postprocessing(-80.0, 3.1, fitted=False).text
    assert "made flat" in methods.postprocessing(None, 3.1, fitted=False).text
    only_weighted = methods.postprocessing(None, 3.1, fitted=False, sharpened=False).text
    assert "flat" not in only_weighted
    assert "B-factor" not in only_weighted
