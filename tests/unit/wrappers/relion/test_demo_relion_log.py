"""RELION's log is read rightly: which calls were answered how, and whether the run came to its own end."""

from __future__ import annotations

from pathlib import Path

from cryobridge.wrappers.relion.demo.real_relion import HookAnswer, RelionRun

LOG = """ Expectation iteration 1
000/??? sec ~~(,_,">cryobridge: standard map (RELION's own): correction starts at healpix order 2 (now 1) [it001 half2 class001]
cryobridge: standard map (RELION's own): correction starts at healpix order 2 (now 1) [it001 half1 class001]
 Expectation iteration 2
cryobridge: training 10/80, loss 0.3 [it002 half1 class001]
cryobridge: corrected map: FSC=0.143 at 9.0 A (11.0 s) [it002 half1 class001]
cryobridge: corrected map: FSC=0.143 at 9.0 A (11.0 s) [it002 half2 class001]
 Expectation iteration 3
cryobridge: corrected map: FSC=0.143 at 9.0 A (11.0 s) [it003 half1 class001]
 Expectation iteration 4
cryobridge: standard map (RELION's own): the last, joined reconstruction is RELION's own [it004 class001]
 Auto-refine: Refinement has converged, stopping now...
"""  # noqa: E501 - as RELION's progress bar leaves it


def test_answers_are_read_from_the_log():
    """One answer per call; progress is none; the joined call is half 0; a lone half is no corrected iteration."""
    run = RelionRun(Path(), 0, 1.0, LOG, "")
    assert run.iterations == 4
    assert run.converged
    assert [(a.iteration, a.half, a.kind) for a in run.answers] == [
        (1, 2, "standard"),
        (1, 1, "standard"),
        (2, 1, "corrected"),
        (2, 2, "corrected"),
        (3, 1, "corrected"),
        (4, 0, "standard"),
    ]
    assert run.corrected_iterations == [2]
    assert isinstance(run.answers[0], HookAnswer)
    assert "healpix order 2" in run.answers[0].text


def test_a_run_that_died_has_not_converged():
    """Neither an exit code nor a cut log passes for a finished run."""
    assert not RelionRun(Path(), 1, 1.0, LOG, "").converged
    assert not RelionRun(Path(), 0, 1.0, LOG[:300], "").converged
