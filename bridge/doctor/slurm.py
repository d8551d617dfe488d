"""Checks of handing jobs to SLURM: its programs answer, the template can be used, the nodes can see the folder.

Where nothing is set for SLURM and its programs are not here there is nothing to check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import psutil

from cryobridge.schemas.config import DaemonConfig, load
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.slurm import SlurmConfig

from ..slurm.commands import SlurmCommands
from ..slurm.template import read_template
from .finding import Finding, Level

CHECK = "SLURM"
SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "pvfs2", "wekafs", "afs", "glusterfs",
          "panfs", "9p", "virtiofs", "fuse")  # fmt: skip
"""File systems that several machines can see; a name may go on, as `fuse.cephfs` does."""


def check_slurm(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Jobs with `run.executor: slurm` can be handed over from here, by a daemon with this configuration."""
    try:
        config = load(None, environment).config
    except CryobridgeError as error:
        yield Finding(CHECK, Level.FAIL, str(error), "correct the configuration")
        return
    commands = SlurmCommands(config.slurm)
    try:
        commands.check()
    except CryobridgeError as error:
        if config.slurm != SlurmConfig():
            yield Finding(CHECK, Level.FAIL, str(error), "install SLURM's programs, or take slurm out")
        return
    try:
        jobs = asyncio.run(commands.queue())
    except CryobridgeError as error:
        # Its programs alone may be there for another reason.
        level = Level.WARN if config.slurm == SlurmConfig() else Level.FAIL
        yield Finding(CHECK, level, f"does not answer: {error}", "jobs for SLURM wait until it does")
        return
    yield Finding(CHECK, Level.OK, f"answers; it knows {len(jobs)} jobs of yours")
    yield _template(config.slurm)
    yield check_folder(config)


def check_folder(config: DaemonConfig, mounts: Mapping[str, str] | None = None) -> Finding:
    """The folder in which jobs are handed over lies where the nodes may see it.

    Parameters
    ----------
    mounts
        Types of file systems by where they are mounted; of this machine where not given.
    """
    folder = config.slurm.folder_in(config.state_path())
    if mounts is None:
        mounts = {one.mountpoint: one.fstype for one in psutil.disk_partitions(all=True)}
    there = next(path for path in (folder, *folder.parents) if path.exists()).resolve()
    above = next((str(path) for path in (there, *there.parents) if str(path) in mounts), "/")
    kind = mounts.get(above, "unknown")
    text = f"jobs are handed over in {folder}, on a file system of type {kind}"
    if kind.partition(".")[0] in SHARED:
        return Finding(CHECK, Level.OK, text)
    return Finding(
        CHECK,
        Level.WARN,
        f"{text}: other machines do not see that",
        "set slurm.folder to a folder that the nodes see under the same path; fine where this machine is the only node",
    )


def _template(config: SlurmConfig) -> Finding:
    try:
        read_template(config.template)
    except CryobridgeError as error:
        return Finding(CHECK, Level.FAIL, str(error), "correct slurm.template")
    where = config.template or "the one that comes with the program"
    return Finding(CHECK, Level.OK, f"its template is {where}")
