"""File names of RELION's calls and what lies around them."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.wrappers.relion.hook.call import CallInvalidError, list_items, look_around, read_call
from cryobridge.wrappers.relion.hook.names import (
    CallName,
    base_root,
    is_leftover,
    optimiser_of,
    parse_call,
    stale_coordination_files,
)

ROOTS = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize(
    ("star", "expected"),
    [
        (
            "Refine3D/job001/run_it010_half1_class001_external_reconstruct.star",
            CallName("Refine3D/job001", "run", 10, 1, "class", 1),
        ),
        ("run_ct5_it1234_half2_body012_external_reconstruct.star", CallName("", "run_ct5", 1234, 2, "body", 12)),
        (
            "/p/my_it003_half1_class001_run.v2_it004_class003_external_reconstruct.star",
            CallName("/p", "my_it003_half1_class001_run.v2", 4, 0, "class", 3),
        ),
        ("a/run_it010_half3_class001_external_reconstruct.star", CallName("a", "run_it010_half3", 0, 0, "", 0)),
        ("run_it10_half1_class001_external_reconstruct.star", None),
        ("run_it010_half1_class001.star", None),
    ],
)
def test_calls_are_parsed_from_the_end_of_the_name(star, expected):
    if expected is not None and not expected.kind:
        expected = None  # "half3" is neither a half nor, without its own iteration, a root
    assert parse_call(star) == expected


@given(root=ROOTS, iteration=st.integers(0, 5000), half=st.sampled_from([0, 1, 2]), number=st.integers(1, 999))
def test_every_name_that_relion_can_write_is_read_back(root, iteration, half, number):
    name = CallName("job", root, iteration, half, "class", number)
    assert parse_call(f"job/{name.stem}.star") == name


@pytest.mark.parametrize(
    ("root", "base"), [("run_ct5", "run"), ("run", "run"), ("run_ct", "run_ct"), ("a_ct1_b", "a_ct1_b")]
)
def test_the_root_of_a_continued_run(root, base):
    assert base_root(root) == base


def test_a_continued_run_finds_its_earlier_iterations_under_the_older_root(tmp_path):
    for index, file_name in enumerate(
        ["run_it005_optimiser.star", "run_ct3_it005_optimiser.star", "other_it005_optimiser.star"]
    ):
        (tmp_path / file_name).touch()
        os.utime(tmp_path / file_name, (index, index))
    name = CallName(str(tmp_path), "run_ct5", 6, 1, "class", 1)
    assert optimiser_of(name, 5) == str(tmp_path / "run_ct3_it005_optimiser.star")
    (tmp_path / "run_ct5_it005_optimiser.star").touch()
    assert optimiser_of(name, 5) == str(tmp_path / "run_ct5_it005_optimiser.star")
    assert optimiser_of(name, 4) is None


def test_a_half_written_network_of_the_same_iteration_is_stale_and_a_meeting_is_not():
    name = CallName("", "run", 10, 1, "class", 1)
    network = ".it010_class001.session.cryobridge-0a-1-2-3.mrc"
    kept = [".it010_class002.session.cryobridge-0a-1-2-3.mrc", ".it010_class001.cryobridge-0a-1-2-3.mrc"]
    assert stale_coordination_files(name, [network, *kept, "it010_class001.x.verdict"]) == [network]


def test_only_other_iterations_meeting_files_are_stale():
    name = CallName("", "run", 10, 1, "class", 1)
    files = ["it009_class001_half1.here", "it010_class001_half1.here", "session.safetensors", ".it011_class001.x.mrc"]
    assert stale_coordination_files(name, files) == ["it009_class001_half1.here", ".it011_class001.x.mrc"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (".run_it009_half1_class001_external_reconstruct.cryobridge-0a.mrc", True),
        (".run_it009_half2_class001_external_reconstruct.cryobridge-0a.mrc", False),
        (".run_it009_half1_class002_external_reconstruct.cryobridge-0a.mrc", False),
        (".other_it009_half1_class001_external_reconstruct.cryobridge-0a.mrc", False),
        ("run_it009_half1_class001_external_reconstruct.mrc", False),
    ],
)
def test_only_the_same_halfs_temporary_files_are_leftovers(entry, expected):
    assert is_leftover(CallName("", "run", 10, 1, "class", 1), entry) is expected


def write_star(folder, **replaced):
    items = {
        "rlnExtReconsDataReal": "real.mrc",
        "rlnExtReconsDataImag": "imag.mrc",
        "rlnExtReconsWeight": "weight.mrc",
        "rlnExtReconsResult": '"a result.mrc"',
        "rlnOriginalImageSize": "64",
        "rlnReferenceDimensionality": "3",
    } | replaced
    star = folder / "run_it010_half1_class001_external_reconstruct.star"
    star.write_text("data_general\n\n" + "".join(f"_{k} {v}\n" for k, v in items.items() if v is not None))
    return str(star)


def test_the_star_of_a_call_is_read(tmp_path):
    call = read_call(write_star(tmp_path))
    assert (call.box, call.shape, call.result) == (64, (64, 64, 64), "a result.mrc")
    assert read_call(write_star(tmp_path, rlnReferenceDimensionality="2")).shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("replaced", "word"),
    [
        ({"rlnExtReconsWeight": None}, "rlnExtReconsWeight"),
        ({"rlnOriginalImageSize": "x"}, "whole number"),
        ({"rlnOriginalImageSize": "0"}, "box of 0"),
        ({"rlnOriginalImageSize": "999999"}, "box of 999999"),
        ({"rlnReferenceDimensionality": "4"}, "4 dimensions"),
    ],
)
def test_a_star_that_makes_no_sense_is_refused_with_the_reason(tmp_path, replaced, word):
    with pytest.raises(CallInvalidError, match=word):
        read_call(write_star(tmp_path, **replaced))


def test_a_star_that_is_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "run_it010_class001_external_reconstruct.star")
    with pytest.raises(CallInvalidError, match="not a regular file"):
        read_call(str(tmp_path / "run_it010_class001_external_reconstruct.star"))


@given(st.text())
def test_any_text_gives_items_or_none_but_no_error(text):
    assert all(isinstance(value, str) for value in list_items(text).values())


def test_the_surroundings_of_a_call_follow_the_optimiser_of_the_iteration_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = tmp_path / "Refine3D" / "job001"
    job.mkdir(parents=True)
    for name in ("run_it009_sampling.star", "run_it009_half1_model.star", "run_it009_half2_model.star", "mask.mrc"):
        (job / name).touch()
    (job / "run_it000_half1_class001.mrc").touch()
    (job / "run_it000_optimiser.star").write_text("# RELION\n# --o x --auto_refine\n")
    (job / "run_it009_optimiser.star").write_text(
        "# RELION optimiser; version 3.1.3\n# --o Refine3D/job001/run --sequential_halves_recons \n\n"
        "data_optimiser_general\n\n"
        "_rlnOrientSamplingStarFile Refine3D/job001/run_it009_sampling.star\n"
        "_rlnModelStarFile moved/elsewhere/run_it009_half1_model.star\n"
        "_rlnModelStarFile2 Refine3D/job001/run_it009_half2_model.star\n"
        "_rlnExperimentalDataStarFile Refine3D/job001/gone.star\n"
        "_rlnSolventMaskName Refine3D/job001/mask.mrc\n"
    )
    found = look_around(CallName("Refine3D/job001", "run", 10, 1, "class", 1))
    assert found.paths == {
        "optimiser_start": "Refine3D/job001/run_it000_optimiser.star",
        "optimiser": "Refine3D/job001/run_it009_optimiser.star",
        "sampling": "Refine3D/job001/run_it009_sampling.star",
        "model": "Refine3D/job001/run_it009_half1_model.star",
        "mask": "Refine3D/job001/mask.mrc",
        "reference_start.1": "Refine3D/job001/run_it000_half1_class001.mrc",
    }
    assert found.sequential
    half2 = look_around(CallName("Refine3D/job001", "run", 10, 2, "class", 1))
    assert half2.paths["model"] == "Refine3D/job001/run_it009_half2_model.star"
    assert not look_around(CallName("Refine3D/job001", "run", 1, 1, "class", 1)).sequential


def test_a_mask_named_none_is_absent(tmp_path):
    (tmp_path / "run_it000_optimiser.star").write_text("# v\n# --o run\n\ndata_x\n\n_rlnSolventMaskName None\n")
    found = look_around(CallName(str(tmp_path), "run", 1, 1, "class", 1))
    assert set(found.paths) == {"optimiser", "optimiser_start"}
