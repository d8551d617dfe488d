"""Figures that cannot be drawn, learning curves of any table, and passages that cite what they name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.literature import works_in

from cryobridge.bridge.worker.heterogeneity import words
from cryobridge.bridge.worker.heterogeneity.drawn import DrawnFigures
from cryobridge.bridge.worker.heterogeneity.training_curve import training_panels
from cryobridge.bridge.worker.report.methods import Passage


def test_a_figure_that_fails_is_left_out_and_said() -> None:
    def broken() -> bytes:
        raise MemoryError("too many points")

    drawn = DrawnFigures()
    drawn.add("good", lambda: b"png", "fine", table="a.csv")
    drawn.add("bad", broken, "never")
    assert [figure.title for figure in drawn.figures] == ["good"]
    assert drawn.remarks == ["The figure 'bad' could not be drawn (too many points); its numbers are in the tables."]


@pytest.mark.parametrize(
    ("text", "panels"),
    [
        ("epoch,loss,kl,seconds\n1,2,0.5,9\n2,1,,9\n", ["loss", "kl"]),
        ("epoch,loss\n1,nan\n", None),
        ("step,loss\n1,2\n", None),
        ("epoch,loss\n1,much\n", None),
        ("epoch,loss\r1,2\r2,1\r", None),
        ("", None),
        (None, None),
    ],
)
def test_a_learning_curve_is_read_or_there_is_none(tmp_path: Path, text: str | None, panels: list[str] | None) -> None:
    if text is not None:
        (tmp_path / "training.csv").write_text(text)
    found = training_panels(tmp_path)
    assert (None if found is None else list(found.panels)) == panels


@pytest.mark.parametrize("passage", [words.clusters_passage(3), words.traversal_passage(10), words.umap_passage()])
def test_a_passage_cites_what_it_names(passage: Passage) -> None:
    assert {work.short for work in works_in(words) if work.short in passage.text} == {
        work.short for work in passage.works
    }
    assert passage.text.endswith(".")
