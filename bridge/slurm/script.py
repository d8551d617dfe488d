"""The sbatch script of a job: its resources, and the worker that does it on the node."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.slurm import SlurmConfig, SlurmResources
from cryobridge.schemas.spool import JOB_FILE, LOG_FILE

from .template import fill, read_template

WORKER_MODULE = "cryobridge.bridge.worker.batch"
_MB = 2**20


@dataclass(frozen=True)
class Demand:
    """What a job gets: its resources with all defaults, and how many processes do it together."""

    resources: SlurmResources
    processes: int


def demand_of(job: Job, config: SlurmConfig) -> Demand:
    """What is asked of SLURM for a job.

    Raises
    ------
    JobRejected
        If it asks for what it cannot use.
    """
    own = job.run.slurm or SlurmResources()
    asked = own.over(config.defaults)
    gpus = asked.gpus or 0
    if own.gpus is None and not job.shares_devices:
        # What the configuration gives to trainings is no mistake of this job.
        gpus = min(gpus, 1)
    if job.run.devices == "cpu":
        if own.gpus:
            raise JobRejected(f"run.devices is cpu and run.slurm.gpus is {own.gpus}; give one of them")
        gpus = 0
    if job.run.devices == "gpu" and gpus == 0:
        raise JobRejected("run.devices is gpu and run.slurm.gpus is 0; give one of them")
    if gpus > 1 and not job.shares_devices:
        raise JobRejected(f"{job.kind} uses one GPU, and run.slurm.gpus is {gpus}; ask for 1")
    cpus = own.cpus or job.run.threads or asked.cpus
    return Demand(asked.model_copy(update={"gpus": gpus or None, "cpus": cpus}), max(1, gpus))


def script_of(job: Job, job_id: str, name: str, folder: Path, config: SlurmConfig) -> str:
    """Fill the template for a job.

    Parameters
    ----------
    job_id
        In the daemon's queue.
    name
        In SLURM.
    folder
        Its spool folder.

    Raises
    ------
    InputInvalid
        If the template cannot be used.
    JobRejected
        If the job asks for what it cannot use.
    """
    demand = demand_of(job, config)
    asked = demand.resources
    memory_MB = None if asked.memory_GB is None else str(math.ceil(asked.memory_GB * 1e9 / _MB))
    words = {
        "name": name,
        # sbatch fills in patterns of its own.
        "log": str(folder / LOG_FILE).replace("%", "%%"),
        "partition": asked.partition,
        "account": asked.account,
        "time_min": None if asked.time_h is None else str(math.ceil(60 * asked.time_h)),
        "gpus": None if asked.gpus is None else str(asked.gpus),
        "cpus": None if asked.cpus is None else str(asked.cpus),
        "memory_MB": memory_MB,
        "threads": str(max(1, (asked.cpus or 1) // demand.processes)),
        "job_id": job_id,
        "kind": job.kind,
        "python": sys.executable,
        "job_file": str(folder / JOB_FILE),
        "folder": str(folder),
    }
    work = ["-m", WORKER_MODULE, "--job", str(folder / JOB_FILE)]
    if demand.processes > 1:
        work = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(demand.processes), *work]
    lists = {"extra": asked.extra, "command": [sys.executable, "-I", *work]}
    return fill(read_template(config.template), words, lists, "\n".join(config.environment))
