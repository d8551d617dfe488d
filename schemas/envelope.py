"""The envelope that every kind of job has in common: inputs, output, options, and how it is run.

A kind is a subclass of `Job` that says what it is called; it registers itself, see `Job`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from .memory import MemoryEstimate
from .outputs import Output
from .paths import MAX_INPUT_PATHS, InputPath, OutputFolder, paths_of, with_paths
from .slurm import SlurmResources
from .validation import StrictModel

JOB_SCHEMA = "cryobridge/job/1"
JOB_NAME = "job.yaml"
"""The job as it was run, in its output folder."""
RESULT_NAME = "result.json"

_DEVICES = re.compile(r"^(auto|cpu|gpu|(\d+|GPU-[0-9a-fA-F-]+)([,:](\d+|GPU-[0-9a-fA-F-]+))*)$")

_REQUEST = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _device_list(text: str) -> str:
    if not _DEVICES.match(text):
        raise ValueError("should be auto, cpu, gpu, or GPU numbers or UUIDs such as 0,1")
    return text


def _request_name(text: str) -> str:
    if not _REQUEST.fullmatch(text):
        raise ValueError("should be 1 to 64 letters, digits, dots, dashes or underscores")
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
    deadline_s: float | None = Field(
        None,
        gt=0,
        description="longest time from its start to its end, in seconds, all waiting included; none if empty",
    )
    executor: Literal["here", "slurm"] = Field(
        "here", description="here: on this machine; slurm: on the cluster, by its SLURM, for jobs that are submitted"
    )
    slurm: SlurmResources | None = Field(None, description="what is asked of SLURM, with executor: slurm")
    overwrite: bool = Field(False, description="replace a finished result in the output folder")
    request_id: Annotated[str, AfterValidator(_request_name)] | None = Field(
        None,
        description="the submitter's own name for this request; the daemon takes one name once, so a retry is safe, "
        "and makes one up where there is none",
    )

    @model_validator(mode="after")
    def _devices_of_the_executor(self) -> Self:
        if self.executor == "here" and self.slurm is not None:
            raise ValueError("what is asked of SLURM (slurm) needs executor: slurm")
        if self.executor == "slurm" and self.devices not in ("auto", "cpu", "gpu"):
            raise ValueError("with executor: slurm, devices is auto, cpu or gpu; slurm.gpus says how many GPUs")
        return self


class Inputs(StrictModel):
    """What a job reads; every kind has its own. Fields of paths have the types of `schemas.paths`."""

    def paths(self) -> Iterator[InputPath]:
        """Each path that was given, those of models and lists inside included."""
        return paths_of(self)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        count = sum(1 for _ in self.paths())
        if count > MAX_INPUT_PATHS:
            raise ValueError(f"{count} files; a job takes at most {MAX_INPUT_PATHS}")
        return self


class Options(StrictModel):
    """The choices of a job; every kind has its own, with defaults where there can be any."""


JOB_MODELS: dict[str, type[Job]] = {}
"""The class of each kind, by its name. `schemas.job` fills it; a class that is defined later joins by itself."""


class Job(StrictModel, ABC):
    """What every kind has in common.

    A subclass whose field `kind` has a default is a kind, and registers itself under that name; one without is a base
    of kinds. A kind declares its inputs, its options, what it leaves, and what it needs. Its docstring is the help of
    its command and its line in the documents.

    `schema_version` is the key `schema` in files, a name that pydantic keeps for itself.
    """

    user_kind: ClassVar[bool] = True
    """False for kinds that only the daemon makes."""
    shares_devices: ClassVar[bool] = False
    """Whether several processes may do one job together, each on a device of its own."""
    outputs: ClassVar[tuple[Output, ...]] = ()
    """What a finished job leaves, besides `job.yaml`, `run.log` and `result.json`."""

    schema_version: Literal["cryobridge/job/1"] = Field("cryobridge/job/1", alias="schema")
    kind: str
    inputs: Inputs
    output: OutputFolder = Field(validation_alias=AliasChoices("output", "output_dir"))
    options: Options
    run: RunOptions = Field(default_factory=RunOptions)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Register a kind. Pydantic's own hook: in `__init_subclass__` the fields are not there yet."""
        name = cls.model_fields["kind"].default
        if not isinstance(name, str):
            return
        other = JOB_MODELS.get(name)
        if other is not None:
            raise TypeError(f"kind {name}: {other.__module__}.{other.__qualname__} has this name already")
        JOB_MODELS[name] = cls

    @abstractmethod
    def memory(self, box: int, device: str) -> MemoryEstimate:
        """How much memory this job wants at its peak.

        Parameters
        ----------
        box
            Voxels along an axis of its maps: those that it reads or, where it has its own idea, `own_box`.
        device
            "cpu" or "cuda".

        Raises
        ------
        ValueError
            If its options do not go together on this device.
        """

    def own_box(self, device: str) -> int | None:
        """Box of the volumes that a job makes whatever its inputs are; None where the inputs decide."""
        return None

    def paths(self) -> Iterator[InputPath]:
        """Each path among the inputs: key, path, and what must lie there."""
        return self.inputs.paths()

    def resolved(self, base: Path) -> Self:
        """The same job with absolute paths; relative ones start at `base`."""
        return self.model_copy(
            update={"inputs": with_paths(self.inputs, base.joinpath), "output": base / self.output},
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
