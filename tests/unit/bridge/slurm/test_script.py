"""The script of a job: what it asks of SLURM, by itself, by the configuration, and not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cryobridge.bridge.slurm.script import demand_of, script_of
from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.slurm import SlurmConfig


def job(kind: str = "check", **run: Any) -> Job:
    maps = {"half1": "/a.mrc", "half2": "/b.mrc", "mask": "/m.mrc"}
    spec = {"schema": "cryobridge/job/1", "kind": kind, "output": "/out", "run": {"executor": "slurm", **run}}
    return parse_job({**spec, "inputs": {} if kind == "check" else maps}, "test")


def directives(made: Job, **config: Any) -> set[str]:
    script = script_of(made, "ab", "cryobridge-ab-0", Path("/spool/ab-0"), SlurmConfig(**config))
    return {line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")}


def test_a_job_that_asks_for_nothing_has_the_defaults_and_no_empty_options() -> None:
    asked = directives(job())
    assert {
        "--gres=gpu:1",
        "--cpus-per-task=4",
        "--job-name=cryobridge-ab-0",
        "--output=/spool/ab-0/slurm.out",
    } <= asked
    assert not [line for line in asked if line.startswith(("--partition", "--account", "--time", "--mem"))]


def test_what_a_job_asks_goes_before_the_configuration() -> None:
    resources = {"partition": "a,b", "account": "lab", "time_h": 1.51, "cpus": 2, "memory_GB": 2, "extra": "--qos=x"}
    asked = directives(job(slurm=resources), defaults={"partition": "c", "extra": ["--nice=5"], "gpus": 1})
    assert {"--partition=a,b", "--account=lab", "--time=91", "--cpus-per-task=2", "--mem=1908M"} <= asked
    assert "--nice=5 --qos=x" in asked


def test_the_worker_is_started_with_this_python_and_the_operators_lines_before_it() -> None:
    lines = script_of(job(), "ab", "n", Path("/sp ool/ab-0"), SlurmConfig(environment=("module load x",))).splitlines()
    worker = f"exec {sys.executable} -I -m cryobridge.bridge.worker.batch --job '/sp ool/ab-0/job.json'"
    assert lines.index("module load x") < lines.index(worker)


def test_several_gpus_are_several_processes_that_share_the_cores() -> None:
    text = script_of(job("map.correct", slurm={"gpus": 4, "cpus": 8}), "ab", "n", Path("/s/ab-0"), SlurmConfig())
    assert "-m torch.distributed.run --standalone --nproc-per-node 4 -m cryobridge.bridge.worker.batch" in text
    assert "export OMP_NUM_THREADS=2\n" in text


def test_a_job_for_the_cpu_takes_no_gpu() -> None:
    assert not [line for line in directives(job(devices="cpu")) if "gres" in line]


def test_threads_are_cores() -> None:
    assert "--cpus-per-task=6" in directives(job(threads=6))


def test_the_configurations_gpus_are_for_kinds_that_can_use_them() -> None:
    config = SlurmConfig(defaults={"gpus": 4})
    assert (demand_of(job(), config).resources.gpus, demand_of(job("map.correct"), config).processes) == (1, 4)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (job(slurm={"gpus": 2}), "check uses one GPU"),
        (job(devices="cpu", slurm={"gpus": 1}), "devices is cpu"),
        (job(devices="gpu", slurm={"gpus": 0}), "devices is gpu"),
    ],
)
def test_what_a_job_cannot_use_is_refused(made: Job, said: str) -> None:
    with pytest.raises(JobRejected, match=said):
        demand_of(made, SlurmConfig())


def test_a_per_cent_sign_in_a_folder_is_no_pattern_of_sbatchs() -> None:
    assert "--output=/s%%j/ab-0/slurm.out" in script_of(job(), "ab", "n", Path("/s%j/ab-0"), SlurmConfig())
