"""When a call of RELION is corrected, and what its log says when it is not."""

import dataclasses

import pytest

from cryobridge.bridge.worker.calls.due import decide
from cryobridge.schemas.relion import RelionOptions
from cryobridge.wrappers.relion.jobdir import RefinementFacts

FACTS = RefinementFacts(command_line="--o run --auto_refine", healpix_order=3)
OPTIONS = RelionOptions()


def verdict(options=OPTIONS, facts=FACTS, half=1, iteration=9, resolution_A=9.0, kind="class"):
    return decide(options, facts, half=half, iteration=iteration, resolution_A=resolution_A, kind=kind)


def test_a_half_past_both_gates_is_due():
    assert verdict().due


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"options": RelionOptions(correction=False)}, "off", "switched off"),
        ({"facts": dataclasses.replace(FACTS, healpix_order=2)}, "not_due", "healpix order 3 (now 2)"),
        ({"facts": dataclasses.replace(FACTS, healpix_order=None)}, "not_due", "sampling file"),
        ({"resolution_A": 18.2}, "not_due", "15 A (now 18.2 A)"),
        ({"resolution_A": None}, "not_due", "do not agree"),
        ({"half": 0}, "joined", "joined"),
        ({"half": 0, "facts": RefinementFacts(command_line="--iter 25", healpix_order=3)}, "no_half_sets", "3D class"),
        ({"facts": dataclasses.replace(FACTS, gradient=True)}, "gradient", "gradient"),
        ({"facts": dataclasses.replace(FACTS, sequential_halves=True)}, "sequential", "--sequential_halves_recons"),
        ({"kind": "body"}, "multi_body", "multi-body"),
        ({"options": RelionOptions(start_iteration=12)}, "not_due", "iteration 12 (now 9)"),
    ],
)
def test_every_other_call_stays_standard_and_says_why(changes, code, words):
    answer = verdict(**changes)
    assert not answer.due
    assert answer.code == code
    assert words in answer.line


def test_healpix_zero_asks_for_no_sampling_file():
    assert verdict(RelionOptions(start_healpix=0), dataclasses.replace(FACTS, healpix_order=None)).due


def test_the_joined_call_says_how_to_correct_its_half_maps():
    facts = dataclasses.replace(
        FACTS, command_line="--o 'Refine3D/job 1/run' --auto_refine", solvent_mask="Mask/job002/mask.mrc", symmetry="C3"
    )
    assert verdict(half=0, facts=facts).line.endswith(
        "cryobridge map correct 'Refine3D/job 1/run_half1_class001_unfil.mrc' "
        "'Refine3D/job 1/run_half2_class001_unfil.mrc' --mask Mask/job002/mask.mrc --symmetry C3 "
        "-o 'Refine3D/job 1/run_corrected'"
    )


@pytest.mark.parametrize(("start", "local", "said"), [(3, 4, False), (4, 4, True), (5, 4, True), (4, 5, False)])
def test_the_first_call_says_when_correction_would_begin_in_local_searches(start, local, said):
    facts = dataclasses.replace(FACTS, healpix_order=2, local_healpix_order=local)
    options = RelionOptions(start_healpix=start)
    line = verdict(options, facts, iteration=1).line
    assert line.startswith(f"correction starts at healpix order {start} (now 2)")
    assert ("local searches" in line) is said
    assert (f"set start_healpix: {local - 1} in cryobridge.yaml" in line) is said
    assert "local searches" not in verdict(options, facts, iteration=2).line
    assert "local searches" not in verdict(options, facts, iteration=1, half=2).line


@pytest.mark.parametrize(("iteration", "said"), [(8, False), (9, True), (10, False)])
def test_a_continued_run_says_it_as_soon_as_its_command_line_is_known(iteration, said):
    command = (
        "relion_refine_mpi --continue Refine3D/job1/run_it007_optimiser.star --o Refine3D/job1/run_ct7 --auto_refine"
    )
    facts = dataclasses.replace(FACTS, command_line=command, healpix_order=2, local_healpix_order=4)
    line = verdict(RelionOptions(start_healpix=4), facts, iteration=iteration).line
    assert ("local searches" in line) is said


def test_a_run_without_auto_refine_has_no_local_searches_to_come_too_late_for():
    facts = dataclasses.replace(FACTS, healpix_order=2)
    assert "local" not in verdict(RelionOptions(start_healpix=9), facts, iteration=1).line
