"""SLURM's programs as they are really run: their limits, their words, what they inherit."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from cryobridge.bridge.slurm.commands import SlurmCommands, SlurmUnavailable, environment, run_program
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.slurm import SlurmConfig


def program(tmp_path: Path, lines: str) -> str:
    path = tmp_path / "program.py"
    path.write_text(f"import sys, time\n{lines}\n")
    return f"{sys.executable} -I -S {path}"


def test_an_allocation_around_the_daemon_is_not_inherited() -> None:
    kept = {"PATH": "/bin", "SLURM_CONF": "/c", "HOME": "/h", "LD_LIBRARY_PATH": "/l"}
    others = dict.fromkeys(
        ("SLURM_JOB_ID", "SBATCH_PARTITION", "OMPI_COMM_WORLD_RANK", "CUDA_VISIBLE_DEVICES", "RANK"), "1"
    )
    assert environment({**kept, **others, "CRYOBRIDGE_SOCKET": "/s"}) == kept


def test_a_program_that_does_not_answer_is_killed(tmp_path: Path) -> None:
    config = SlurmConfig(queue=program(tmp_path, "time.sleep(60)"), command_s=0.5)
    with pytest.raises(SlurmUnavailable, match="did not answer"):
        asyncio.run(SlurmCommands(config).queue())


def test_output_and_code_come_back(tmp_path: Path) -> None:
    words = program(tmp_path, "print('out'); print('err', file=sys.stderr); sys.exit(3)").split()
    ran = asyncio.run(run_program(words, tmp_path, 20.0))
    assert (ran.code, ran.out, ran.err) == (3, "out\n", "err\n")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            SlurmUnavailable,
        ),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", SlurmUnavailable),
        ("sbatch: error: invalid partition specified: x", JobRejected),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", JobRejected),
    ],
)
def test_not_now_is_told_from_not_so(tmp_path: Path, said: str, error: type[Exception]) -> None:
    config = SlurmConfig(submit=program(tmp_path, f"sys.exit({said!r})"))
    with pytest.raises(error, match="sbatch: error"):
        asyncio.run(SlurmCommands(config).submit(tmp_path / "job.sbatch"))


def test_a_program_that_is_not_there_is_no_crash(tmp_path: Path) -> None:
    commands = SlurmCommands(SlurmConfig(queue="/no/such/squeue"))
    with pytest.raises(SlurmUnavailable, match="cannot be started"):
        asyncio.run(commands.queue())


def test_accounting_that_is_switched_off_is_not_asked_again(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    config = SlurmConfig(accounting=program(tmp_path, f"open({str(asked)!r}, 'a').write('x'); sys.exit('disabled')"))

    async def twice() -> None:
        commands = SlurmCommands(config)
        assert await commands.forgotten("a") == {}
        assert await commands.forgotten("a") == {}

    asyncio.run(twice())
    assert asked.read_text() == "x"
