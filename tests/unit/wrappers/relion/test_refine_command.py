"""What the words of a refinement's command tell somebody who is about to start it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.wrappers.relion.refine_command import complaint, read_command, several_hosts

RUN = "mpirun -n 3 /opt/relion/bin/relion_refine_mpi --o Refine3D/job001/run --auto_refine --external_reconstruct"


def test_a_refinement_tells_where_it_writes_and_where_it_begins() -> None:
    told = read_command(RUN.split())
    assert (told.refines, told.external, told.blush) == (True, True, False)
    assert told.root == Path("Refine3D/job001/run")
    assert told.first_iteration == 1
    assert complaint(told) is None


def test_a_continued_one_begins_later() -> None:
    line = f"{RUN} --continue Refine3D/job001/run_it012_optimiser.star"
    assert read_command(line.split()).first_iteration == 13


def test_one_that_would_never_call_is_said_to(tmp_path: Path) -> None:
    without = read_command(RUN.replace(" --external_reconstruct", "").split())
    assert "--external_reconstruct" in str(complaint(without))
    assert "--blush" in str(complaint(read_command(f"{RUN} --blush".split())))


@pytest.mark.parametrize("line", ["bash run_submit.script", "python refine.py --o x"])
def test_what_a_script_does_is_not_guessed(line: str) -> None:
    told = read_command(line.split())
    assert (told.refines, told.root) == (False, None)
    assert complaint(told) is None


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ("mpirun -n 3", {}, None),
        ("mpirun --host localhost:3", {}, None),
        ("mpirun --host node1:2,node2:2", {}, "--host node1:2,node2:2"),
        ("mpirun --hostfile hosts", {}, "--hostfile hosts"),
        ("mpirun --hostfile=hosts", {}, "--hostfile hosts"),
        ("srun", {"SLURM_JOB_NUM_NODES": "2"}, "SLURM_JOB_NUM_NODES=2"),
        ("srun", {"SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "gpu7"}, None),
        ("srun", {"SLURM_JOB_NODELIST": "gpu[1-2]"}, "SLURM_JOB_NODELIST=gpu[1-2]"),
    ],
)
def test_several_machines_are_noticed(words: str, environment: dict[str, str], said: str | None) -> None:
    assert several_hosts([*words.split(), "relion_refine_mpi", "--host", "a,b"], environment) == said
