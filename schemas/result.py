"""What lies beside every result: which programs made what from which files, and how well.

Written as `result.json` into the output folder, last of all its files, so that its presence means "finished".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from .envelope import RESULT_NAME
from .errors import InputInvalid
from .outputs import OutputType
from .plain_file import read_bounded
from .validation import StrictModel, input_invalid

MAX_RESULT_BYTES = 16 * 1024 * 1024


class FileRecord(StrictModel):
    """A file, or a folder, that went in, recognisable later.

    A folder is known by the names, sizes and times of the files below it, not by what they hold: it may be terabytes.
    """

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class OutputRecord(FileRecord):
    """A file that came out, and what its kind declares it to be; older results do not say."""

    type: OutputType | None = None
    role: str | None = None


class JobResult(StrictModel):
    """How a finished job was done."""

    schema_version: Literal["cryobridge/result/1"] = Field("cryobridge/result/1", alias="schema")
    kind: str
    versions: dict[str, str] = Field(description="cryobridge, python, torch, numpy ...")
    inputs: dict[str, FileRecord]
    outputs: dict[str, OutputRecord]
    options: dict[str, Any] = Field(description="every option as used, defaults and automatic choices filled in")
    seeds: dict[str, int] = Field(default_factory=dict)
    device: str = Field(description="cpu, or the GPU's name and UUID")
    started_at: str = Field(description="ISO 8601, UTC")
    timings_s: dict[str, float] = Field(description="seconds by step; 'total' is the whole job")
    metrics: dict[str, Any] = Field(default_factory=dict, description="numbers of the kind, e.g. resolution_A")
    statements: list[str] = Field(
        default_factory=list, description="what a reader must know, e.g. of half-set independence"
    )

    def as_json(self) -> str:
        """The text of `result.json`."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def read_result(folder: Path) -> JobResult:
    """Read the result of an output folder.

    Raises
    ------
    InputInvalid
        If the folder holds no result, or one that was not written by this schema.
    """
    path = folder / RESULT_NAME
    if not path.exists():
        raise InputInvalid(f"{path}: there is none; the job has not finished")
    raw = read_bounded(path, MAX_RESULT_BYTES, is_a="this is not a result of cryobridge")
    try:
        return JobResult.model_validate_json(raw)
    except ValidationError as error:
        raise input_invalid(error, JobResult, str(path)) from error
