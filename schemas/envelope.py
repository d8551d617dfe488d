"""The envelope that every kind of job has in common: inputs, output, options, and how it is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field

from .validation import StrictModel

JOB_SCHEMA = "cryobridge/job/1"
RESULT_NAME = "result.json"
MAX_PATH_CHARACTERS = 4096


def _plain_path(path: Path) -> Path:
    text = str(path)
    if not text.strip() or text == ".":
        raise ValueError("a path is needed")
    if len(text) > MAX_PATH_CHARACTERS:
        raise ValueError(f"a path of more than {MAX_PATH_CHARACTERS} characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("a path must not hold line breaks or other control characters")
    return path


InputFile = Annotated[Path, AfterValidator(_plain_path)]
"""A file that is read. Relative paths start at the folder of the job file."""
OutputFolder = Annotated[Path, AfterValidator(_plain_path)]
"""A folder that is made, with the result in it."""

_DEVICES = re.compile(r"^(auto|cpu|gpu|(\d+|GPU-[0-9a-fA-F-]+)([,:](\d+|GPU-[0-9a-fA-F-]+))*)$")


def _device_list(text: str) -> str:
    if not _DEVICES.match(text):
        raise ValueError("should be auto, cpu, gpu, or GPU numbers or UUIDs such as 0,1")
    return text


class RunOptions(StrictModel):
    """How a job is run, whatever its kind."""

    priority: Literal["interactive", "batch"] = Field("batch", description="batch waits behind interactive work")
    devices: Annotated[str, AfterValidator(_device_list)] = Field(
        "auto",
        validation_alias=AliasChoices("devices", "gpuID", "gpu"),
        description="auto, cpu, gpu, or GPU numbers or UUIDs such as 0,1",
        coerce_numbers_to_str=True,
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        validation_alias=AliasChoices("threads", "ncpus"),
        description="CPU threads; as many as the worker has if empty",
    )
    deadline_s: float | None = Field(None, gt=0, description="longest time the job may run, in seconds; none if empty")
    overwrite: bool = Field(False, description="replace a finished result in the output folder")
    request_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="the submitter's own name for this request; the daemon takes one name once, so a retry is safe",
    )


class Inputs(StrictModel):
    """The files of a job; every kind has its own."""


class Options(StrictModel):
    """The choices of a job; every kind has its own, all with defaults."""


class Job(StrictModel):
    """What every kind has in common.

    `schema_version` is the key `schema` in files, a name that pydantic keeps for itself.
    """

    user_kind: ClassVar[bool] = True
    """False for kinds that only the daemon makes."""

    schema_version: Literal["cryobridge/job/1"] = Field("cryobridge/job/1", alias="schema")
    kind: str
    inputs: Inputs
    output: OutputFolder = Field(validation_alias=AliasChoices("output", "output_dir"))
    options: Options
    run: RunOptions = Field(default_factory=RunOptions)

    def input_files(self) -> Iterator[tuple[str, Path]]:
        """Each input that was given, as (key, path)."""
        for key, value in self.inputs:
            if isinstance(value, Path):
                yield key, value

    def resolved(self, base: Path) -> Self:
        """The same job with absolute paths; relative ones start at `base`."""
        paths = {key: base / path for key, path in self.input_files()}
        return self.model_copy(
            update={"inputs": self.inputs.model_copy(update=paths), "output": base / self.output},
        )

    def requested_as(self, request_id: str) -> Self:
        """The same job under a submitter's own name for the request."""
        return self.model_copy(update={"run": self.run.model_copy(update={"request_id": request_id})})

    def as_spec(self) -> dict[str, Any]:
        """The job as plain JSON values, as it travels and is stored; `parse_job` reads it back.

        Of the options only those that were chosen, so that the others keep the defaults of the device it runs on.
        """
        spec = self.model_dump(mode="json", by_alias=True)
        spec["options"] = self.options.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return spec
