"""The folder in which a daemon and a worker on a cluster's node tell each other of a job: files, whole or absent.

The daemon writes the job, what it has submitted, and that the job is to stop; the worker says that it has taken the
job, how far it is, that it lives, and what became of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from .bounds import MAX_SENTENCE_CHARACTERS
from .errors import InputInvalid
from .plain_file import read_plain
from .result import MAX_RESULT_BYTES
from .validation import StrictModel, input_invalid

M = TypeVar("M", bound=StrictModel)

JOB_FILE = "job.json"
SCRIPT_FILE = "job.sbatch"
SUBMISSION_FILE = "submission.json"
CANCEL_FILE = "cancel"
CLAIM_FILE = "claim.json"
PROGRESS_FILE = "progress.json"
HEARTBEAT_FILE = "heartbeat"
END_FILES = RESULT_FILE, FAILURE_FILE = "result.json", "failure.json"
LOG_FILE = "slurm.out"

BEAT_S = 3.0
"""How often a worker says that it lives."""
LOOK_S = 1.0
"""How often it looks whether it is to stop."""


class SpooledJob(StrictModel):
    """`job.json`: what is to be done, for whom."""

    schema_version: Literal["cryobridge/spool/1"] = Field("cryobridge/spool/1", alias="schema")
    job_id: str
    owner: str = Field(description="host and state folder of the daemon that follows it")
    spec: dict[str, Any]


class Submission(StrictModel):
    """`submission.json`: under which name the job was handed to SLURM, and its number there once that is known."""

    name: str
    number: int | None = None


class SlurmClaim(StrictModel):
    """`claim.json`: which SLURM job does this one. It is made once, so that no second one does it too."""

    number: int | None
    host: str
    pid: int


class SpooledProgress(StrictModel):
    """`progress.json`: what is being done."""

    text: str = Field(max_length=4 * MAX_SENTENCE_CHARACTERS)
    fraction: float | None = Field(None, ge=0, le=1)


class SpooledResult(StrictModel):
    """`result.json`: the job is done."""

    result: dict[str, Any]


class SpooledFailure(StrictModel):
    """`failure.json`: it is not, and will not be."""

    code: str = Field(max_length=64)
    text: str = Field(max_length=4 * MAX_SENTENCE_CHARACTERS)


def read_spooled(path: Path, model: type[M]) -> M | None:
    """One of the files; None where it is not there.

    Raises
    ------
    InputInvalid
        If it holds something else.
    OSError
        If it cannot be read.
    """
    try:
        raw = read_plain(path, MAX_RESULT_BYTES)
    except FileNotFoundError:
        return None
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise input_invalid(error, model, str(path)) from error
    except RecursionError as error:
        raise InputInvalid(f"{path}: nested too deeply") from error


def as_spooled(model: StrictModel) -> bytes:
    """What such a file holds."""
    return model.model_dump_json(by_alias=True).encode()
