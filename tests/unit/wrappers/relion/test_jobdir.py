"""What RELION's own files say: names, command line, sampling, masks."""

import pytest

from cryobridge.wrappers.relion.jobdir import command_line, option_value, refinement_facts, scalars

OPTIMISER = """# RELION optimiser; version 3.1.3
# --o Refine3D/job001/run --auto_refine --ini_high 20 --external_reconstruct --keep_lowres

# version 30001

data_optimiser_general

_rlnOutputRootName    Refine3D/job001/run
_rlnSolventMaskName   data/mask.mrc
_rlnParticleDiameter  150.000
_rlnDoStochasticGradientDescent   0
"""
SAMPLING = "data_sampling_general\n\n_rlnHealpixOrder 3\n_rlnSymmetryGroup C3\n\ndata_dirs\nloop_\n_rlnAngleRot #1\n1\n"


def test_facts_come_from_the_right_files():
    facts = refinement_facts(OPTIMISER, OPTIMISER, SAMPLING, "data_model_general\n_rlnPixelSize 2.8\n")
    assert facts.healpix_order == 3
    assert facts.symmetry == "C3"
    assert facts.solvent_mask == "data/mask.mrc"
    assert facts.initial_highres_A == 20
    assert facts.pixel_size_A == 2.8
    assert facts.particle_diameter_A == 150
    assert not facts.gradient
    assert not facts.sequential_halves


def test_ini_high_survives_a_continue_that_does_not_repeat_it():
    continued = OPTIMISER.replace("--ini_high 20 ", "--continue x.star ")
    assert refinement_facts(OPTIMISER, continued).initial_highres_A == 20


def test_no_mask_and_gradient_are_recognised():
    text = OPTIMISER.replace("data/mask.mrc", "None").replace("GradientDescent   0", "GradientDescent   1")
    facts = refinement_facts(text)
    assert facts.solvent_mask is None
    assert facts.gradient


def test_sequential_halves_are_recognised_from_the_command_line():
    assert refinement_facts(OPTIMISER.replace("--auto_refine", "--sequential_halves_recons")).sequential_halves


def test_absent_files_leave_everything_unknown():
    facts = refinement_facts()
    assert facts.healpix_order is None
    assert facts.command_line == ""


def test_values_inside_loops_are_not_taken_for_scalars():
    assert scalars("data_a\nloop_\n_x #1\n_y 3\n1 2\ndata_b\n_z 4\n") == {"z": "4"}


def test_a_command_line_with_unbalanced_quotes_is_still_read():
    assert option_value("--o 'run --ini_high 15", "--ini_high") == "15"
    assert command_line("nothing\n") == ""


@pytest.mark.shared
def test_the_captured_refinement_is_understood(captured_iteration):
    folder = captured_iteration / "Refine3D" / "job001"

    def text(name: str) -> str:
        return (folder / f"run_it0{name}.star").read_text()

    facts = refinement_facts(text("00_optimiser"), text("09_optimiser"), text("09_sampling"), text("09_half1_model"))
    assert (facts.healpix_order, facts.symmetry, facts.solvent_mask) == (3, "C1", "data/mask.mrc")
    assert (facts.initial_highres_A, facts.pixel_size_A) == (20.0, 2.8)
    assert "--keep_lowres" in facts.command_line


def test_an_option_with_blanks_that_relion_did_not_quote_is_read_up_to_the_next_one():
    assert option_value("--o Refine3D/my job/run --ini_high 15", "--o") == "Refine3D/my job/run"
    assert option_value("--ini_high 15 --o a b", "--o") == "a b"
    assert option_value("--o", "--o") is None


@pytest.mark.parametrize(
    ("first", "latest", "order"),
    [
        ("# --o run --auto_refine", "", 4),
        ("# --o run --auto_refine --auto_local_healpix_order 5", "# --continue run_it003_optimiser.star", 5),
        ("# --o run --auto_refine", "# --continue x\n_rlnDoAutoRefine 1\n_rlnAutoLocalSearchesHealpixOrder 6", 6),
        ("", "# --continue x\n_rlnDoAutoRefine 1\n_rlnAutoLocalSearchesHealpixOrder 3", 3),
        ("# --o run --iter 25", "# --o run --iter 25\n_rlnDoAutoRefine 0\n_rlnAutoLocalSearchesHealpixOrder 4", None),
    ],
)
def test_local_searches_begin_where_the_optimiser_or_the_command_says(first, latest, order):
    facts = refinement_facts(f"# RELION\n{first}\n", f"# RELION\n{latest}\n")
    assert facts.local_healpix_order == order
