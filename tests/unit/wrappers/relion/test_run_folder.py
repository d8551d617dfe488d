"""A refinement is read from its job folder as RELION wrote it, and from nothing half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.relion_folder import project, write_iteration

from cryobridge.wrappers.relion.run_folder import inside, optimisers, read_refinement, read_text


def test_a_refinement_says_what_a_session_needs(tmp_path: Path) -> None:
    job_dir = project(tmp_path)
    write_iteration(job_dir, 0)
    refinement = read_refinement(job_dir, "run", 0)
    assert refinement is not None
    assert refinement.as_message() == {
        "session": f"{job_dir}/run",
        "job_dir": str(job_dir),
        "root": "run",
        "iteration": 0,
        "mask": str(tmp_path / "data" / "mask.mrc"),
        "box": 64,
        "padding": 2.0,
        "voxel_size_A": 2.8,
        "symmetry": "C3",
    }
    assert refinement.external
    assert refinement.split_halves
    assert not refinement.blush


def test_a_real_run_is_read(captured_iteration: Path) -> None:
    refinement = read_refinement(captured_iteration / "Refine3D" / "job001", "run", 9)
    assert refinement is not None
    assert (refinement.box, refinement.voxel_size_A, refinement.version) == (64, 2.8, "3.1.3")
    assert refinement.external
    assert refinement.mask == captured_iteration / "data" / "mask.mrc"


@pytest.mark.parametrize("cut", [0, 1, 40, 200, 400])
def test_a_half_written_file_is_not_read(tmp_path: Path, cut: int) -> None:
    optimiser = write_iteration(project(tmp_path), 0)
    optimiser.write_text(optimiser.read_text()[:cut])
    assert read_refinement(optimiser.parent, "run", 0) is None


def test_the_mask_is_found_wherever_the_project_is(tmp_path: Path) -> None:
    deep = project(tmp_path)
    write_iteration(deep, 0, mask=str(tmp_path / "data" / "mask.mrc"))
    found = read_refinement(deep, "run", 0)
    assert found is not None
    assert found.mask == tmp_path / "data" / "mask.mrc"
    write_iteration(deep, 1, mask="data/other.mrc")
    missing = read_refinement(deep, "run", 1)
    assert missing is not None
    assert (missing.mask, missing.mask_missing) == (None, "data/other.mrc")
    write_iteration(deep, 2, mask="None")
    none = read_refinement(deep, "run", 2)
    assert none is not None
    assert (none.mask, none.mask_missing) == (None, None)


def test_roots_with_underscores_and_long_runs_are_told_apart() -> None:
    names = ["my_it003_run_it001_optimiser.star", "run_it099_optimiser.star", "run_it100_optimiser.star"]
    names += ["run_it101_model.star", "run_ct5_it006_optimiser.star", "optimiser.star", "_it000_optimiser.star"]
    assert optimisers(names) == {"my_it003_run": 1, "run": 100, "run_ct5": 6}


def test_what_is_no_plain_file_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 100)
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert read_text(tmp_path / "file", 10) == "x" * 10
    before = len(os.listdir("/proc/self/fd"))
    for name in ("link", "pipe", ".", "absent"):
        assert read_text(tmp_path / name) == ""
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_out_of_a_root_is_outside(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "out").symlink_to(tmp_path)
    assert inside(tmp_path / "root" / "a", [tmp_path / "root"])
    assert not inside(tmp_path / "root" / "out" / "a", [tmp_path / "root"])
    assert not inside(tmp_path / "root" / ".." / "a", [tmp_path / "root"])
