"""SLURM's programs, run beside the daemon's loop, each with a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError, JobRejected
from cryobridge.schemas.slurm import SlurmConfig
from cryobridge.schemas.validation import clipped

from .states import ACCOUNTING_FORMAT, QUEUE_FORMAT, SlurmJob, read_accounting, read_queue, read_submitted

PASSING = (
    "unable to contact slurm controller",
    "socket timed out",
    "communication connection failure",
    "connection refused",
    "connection timed out",
    "zero bytes were transmitted",
    "temporarily unable to accept job",
    "resource temporarily unavailable",
    "transport endpoint is not connected",
    "job submit limit",
    "protocol authentication error",
)
"""Words of sbatch's that mean "not now", not "not so"."""
_KILLED_S = 2.0
_NOT_INHERITED = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SACCT_", "OMPI_", "PMIX_", "PMI_", "CRYOBRIDGE_")
_NOR_THESE = ("CUDA_VISIBLE_DEVICES", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class SlurmUnavailable(CryobridgeError):  # noqa: N818 - as the other errors
    """SLURM cannot be asked now; what was asked of it may have been done all the same."""


@dataclass(frozen=True)
class Ran:
    """How a program ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[[Sequence[str], Path, float], Awaitable[Ran]]
"""Run words as a program, in a folder, for so many seconds at most (`TimeoutError`)."""


async def run_program(words: Sequence[str], folder: Path, limit_s: float) -> Ran:
    """Run a program; it is killed when its time is over, or when nobody waits for it any more.

    Raises
    ------
    TimeoutError
        If it takes longer.
    OSError
        If it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env=environment(os.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C in a terminal is for the daemon.
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), limit_s)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if isinstance(error, TimeoutError):
            # Killed, it ends at once, unless it hangs in a file system.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _KILLED_S)
        raise
    return Ran(process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What SLURM's programs, and the jobs, inherit of the daemon's variables.

    Not what an allocation or an MPI run around the daemon has set: a daemon that RELION started has all of it.
    """
    return {
        name: value
        for name, value in variables.items()
        if name == "SLURM_CONF" or not (name.startswith(_NOT_INHERITED) or name in _NOR_THESE)
    }


class SlurmCommands:
    """What is asked of SLURM, in the words of the configuration.

    Parameters
    ----------
    run
        How a program is run; tests have their own.
    """

    def __init__(self, config: SlurmConfig, run: Run = run_program) -> None:
        self._config = config
        self._run = run
        self._accounting = config.accounting

    def check(self) -> None:
        """See whether jobs can be submitted from this machine.

        Raises
        ------
        JobRejected
            If there is no such program.
        """
        program = shlex.split(self._config.submit)[0]
        if shutil.which(program) is None:
            raise JobRejected(
                f"there is no {program} on this machine, so nothing can be handed to SLURM; "
                "say executor: here, or set slurm.submit in the configuration"
            )

    async def submit(self, script: Path) -> int:
        """Submit a script; its number.

        Raises
        ------
        JobRejected
            If SLURM will not have it.
        SlurmUnavailable
            If SLURM does not answer, or not now; the script may have been taken.
        """
        ran = await self._ask(self._config.submit, "--parsable", str(script), folder=script.parent)
        if ran.code == 0:
            number = read_submitted(ran.out)
            if number is None:
                raise SlurmUnavailable(f"{self._config.submit} gave no number: {clipped(ran.out + ran.err)}")
            return number
        said = clipped(ran.err or ran.out or f"exit code {ran.code}")
        if any(words in said.lower() for words in PASSING):
            raise SlurmUnavailable(said)
        raise JobRejected(f"SLURM refuses the job: {said}")

    async def cancel(self, number: int) -> None:
        """Cancel a SLURM job; one that has ended stays as it is.

        Raises
        ------
        SlurmUnavailable
            If that could not be asked.
        """
        await self._ask(self._config.cancel, str(number))

    async def queue(self) -> dict[int, SlurmJob]:
        """The jobs of this user, those included that ended a short while ago.

        Raises
        ------
        SlurmUnavailable
            If there is no answer.
        """
        words = ("--noheader", "--states=all", f"--user={os.getuid()}", f"--format={QUEUE_FORMAT}")
        ran = await self._ask(self._config.queue, *words)
        if ran.code:
            raise SlurmUnavailable(clipped(ran.err or f"{self._config.queue}: exit code {ran.code}"))
        return read_queue(ran.out)

    async def forgotten(self, name: str) -> dict[int, SlurmJob]:
        """The jobs of a name that accounting knows; none where there is no accounting."""
        if self._accounting is None:
            return {}
        words = ("--noheader", "--parsable2", "--allocations", f"--user={os.getuid()}", f"--name={name}")
        try:
            ran = await self._ask(self._accounting, *words, "--starttime=now-30days", f"--format={ACCOUNTING_FORMAT}")
        except SlurmUnavailable:
            return {}
        if ran.code:
            # As where it is switched off; asking on would only cost time.
            self._accounting = None
            return {}
        return read_accounting(ran.out)

    async def _ask(self, command: str, *words: str, folder: Path = Path("/")) -> Ran:
        limit_s = self._config.command_s
        try:
            return await self._run([*shlex.split(command), *words], folder, limit_s)
        except TimeoutError as error:
            raise SlurmUnavailable(f"{command} did not answer for {limit_s:g} s") from error
        except OSError as error:
            raise SlurmUnavailable(f"{command} cannot be started: {error.strerror}") from error
