"""All works that any report cites, and the test that every passage has to pass."""

from __future__ import annotations

from cryobridge.bridge.worker.heterogeneity import words as heterogeneity
from cryobridge.bridge.worker.kinds.map.correct import words as correct
from cryobridge.bridge.worker.kinds.map.diagnose import words as diagnose
from cryobridge.bridge.worker.report import citations
from cryobridge.bridge.worker.report.citations import Citation
from cryobridge.bridge.worker.report.methods import Passage
from cryobridge.bridge.worker.tomograms import literature as tomograms


def works_in(*modules: object) -> list[Citation]:
    """The works that modules hold, each once."""
    return list(
        dict.fromkeys(value for module in modules for value in vars(module).values() if type(value) is Citation)
    )


ALL_WORKS = works_in(citations, correct, diagnose, heterogeneity, tomograms)


def cites_what_it_names(passage: Passage) -> None:
    """Fail if a passage names a work that it does not cite, or the other way round."""
    assert {work.short for work in ALL_WORKS if work.short in passage.text} == {work.short for work in passage.works}
    assert passage.text.endswith(".")
