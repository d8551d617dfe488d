"""What is asked of a cluster's SLURM: a job's resources, and what an operator sets once for all jobs.

Everything that a user writes becomes one quoted word of a script, out of a small alphabet; nothing is evaluated.
"""

from __future__ import annotations

import difflib
import re
import shlex
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from .validation import StrictModel

EXTRA_OPTIONS = (
    "begin", "constraint", "cpus-per-gpu", "deadline", "dependency", "exclude", "exclusive", "gpu-bind", "gpu-freq",
    "gres-flags", "hint", "licenses", "mail-type", "mail-user", "mem-per-cpu", "mem-per-gpu", "nice", "nodelist",
    "oversubscribe", "prefer", "priority", "qos", "reservation", "switches", "tmp", "wckey",
)  # fmt: skip
"""Of sbatch's options those that leave alone how a job is started, found again and followed."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_NAMES = re.compile(rf"{_NAME.pattern}(,{_NAME.pattern}){{0,31}}")
_EXTRA = re.compile(r"--([a-z][a-z-]{0,40})(=[A-Za-z0-9_.,:@%+/=-]{1,256})?")
_MOST_EXTRA = 16
_MOST_LINE = 4096


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("should be one name of letters, digits, dots, dashes, underscores or plus signs")
    return text


def _names(text: str) -> str:
    if not _NAMES.fullmatch(text):
        raise ValueError("should be names of letters, digits, dots, dashes and underscores, with commas between them")
    return text


def _extra_word(text: str) -> str:
    found = _EXTRA.fullmatch(text)
    if found is None:
        raise ValueError(
            "should be an option of sbatch such as --constraint=a100, without blanks, quotes or signs of the shell"
        )
    if found[1] not in EXTRA_OPTIONS:
        near = difflib.get_close_matches(found[1], EXTRA_OPTIONS, n=1, cutoff=0.6)
        there = f"did you mean --{near[0]}?" if near else f"there are --{', --'.join(EXTRA_OPTIONS)}"
        raise ValueError(f"--{found[1]} is not among the options of sbatch that a job may give; {there}")
    return text


class SlurmResources(StrictModel):
    """What a job asks of SLURM; what it does not ask has the default of the configuration, then SLURM's own."""

    partition: Annotated[str, AfterValidator(_names)] | None = Field(None, description="partition, or several: a,b")
    account: Annotated[str, AfterValidator(_name)] | None = Field(None, description="account that is charged")
    time_h: float | None = Field(
        None, gt=0, le=8784, description="longest time that it may run, in hours, after which SLURM ends it"
    )
    gpus: int | None = Field(
        None,
        ge=0,
        le=64,
        description="GPUs on one node; with more than one a kind that can trains on all of them together",
    )
    cpus: int | None = Field(None, ge=1, le=4096, description="CPU cores on one node")
    memory_GB: float | None = Field(None, gt=0, le=65536, description="memory of the node, in GB (10^9 bytes)")
    extra: tuple[Annotated[str, AfterValidator(_extra_word)], ...] = Field(
        (),
        max_length=_MOST_EXTRA,
        description="further options of sbatch, e.g. --constraint=a100 --qos=high",
        examples=[["--constraint=a100"]],
    )

    @field_validator("extra", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        """A command line and a variable give one text."""
        return value.split() if isinstance(value, str) else value

    def over(self, defaults: SlurmResources) -> SlurmResources:
        """The same, with `defaults` where nothing was asked; options of both are given, the job's own last."""
        asked = {key: value for key, value in self.model_dump(exclude_none=True).items() if key != "extra"}
        return defaults.model_copy(update={**asked, "extra": (*defaults.extra, *self.extra)})


class SlurmDefaults(SlurmResources):
    """What every job asks of SLURM that does not ask otherwise itself."""

    gpus: int | None = Field(1, ge=0, le=64, description="GPUs of a job that does not say, and does not want the CPU")
    cpus: int | None = Field(4, ge=1, le=4096, description="CPU cores of a job that does not say")


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"is no command: {error}") from error
    if not words:
        raise ValueError("should name a program")
    return text


def _line(text: str) -> str:
    if len(text) > _MOST_LINE or any(character in text for character in "\n\r\0"):
        raise ValueError("should be one line of the shell")
    return text


Command = Annotated[str, AfterValidator(_command)]


class SlurmConfig(StrictModel):
    """How this daemon hands jobs with `run.executor: slurm` to SLURM."""

    template: Path | None = Field(
        None, description="sbatch script with {{ placeholders }}; default: the one that comes with the program"
    )
    submit: Command = Field("sbatch", description="program that submits a script, with its first words if it has any")
    cancel: Command = Field("scancel", description="program that cancels a SLURM job")
    queue: Command = Field("squeue", description="program that says where SLURM jobs are")
    accounting: Command | None = Field(
        "sacct", description="program that knows SLURM jobs which the queue has forgotten; null: there is none"
    )
    poll_s: float = Field(5.0, ge=0.2, description="how often SLURM is asked, in seconds")
    command_s: float = Field(30.0, gt=0, description="longest time for each of these programs to answer, in seconds")
    folder: Path | None = Field(
        None,
        description="where jobs and what the nodes say of them are kept, on a file system that the nodes share; "
        "default: in the state folder",
    )
    environment: tuple[Annotated[str, AfterValidator(_line)], ...] = Field(
        (),
        description="lines of the shell before the job begins, e.g. module load cuda/12.4",
        examples=[["module load cuda/12.4"]],
    )
    defaults: SlurmDefaults = SlurmDefaults()

    @field_validator("folder")
    @classmethod
    def _printable_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not str(value).isprintable():
            raise ValueError("should be a path without line breaks")
        return value

    def folder_in(self, state: Path) -> Path:
        """The spool folder of a daemon whose state is kept in `state`."""
        return (self.folder or state / "slurm").absolute()
