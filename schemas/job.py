"""The unit of work as users write it: one envelope for every kind, checked here and nowhere else.

YAML and JSON files, the command line, the socket and later the web form and CryoSPARC all go through these models.
A new kind is a model of its inputs, one of its options, a job class that names it, and an entry in `JOB_MODELS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, ValidationError, model_validator
from pydantic.json_schema import models_json_schema

from .errors import InputInvalid, JobRejected
from .relion import RelionOptions
from .validation import StrictModel, input_invalid, names_of

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
    output: OutputFolder
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
        """The job as plain JSON values, as it travels and is stored; `parse_job` reads it back."""
        return self.model_dump(mode="json", by_alias=True)


class HalfMapInputs(Inputs):
    """Two half-maps of one reconstruction and, if wanted, a mask on the same grid."""

    half1: InputFile = Field(
        validation_alias=AliasChoices("half1", "h1", "half_map1"), description="half-map 1 (MRC, cubic)"
    )
    half2: InputFile = Field(
        validation_alias=AliasChoices("half2", "h2", "half_map2"), description="half-map 2, the same box and voxel size"
    )
    mask: InputFile | None = Field(
        None, validation_alias=AliasChoices("mask", "mask_file"), description="mask, 0 to 1, the same box"
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if self.half1 == self.half2:
            raise ValueError(f"half1 and half2 are the same file, {self.half1}; give the two half-maps")
        return self


class Fsc3dOptions(Options):
    """Options of `map.fsc3d`."""

    limit_resolution_A: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("limit_resolution_A", "limit_res"),
        description="compute up to this resolution in Angstrom; where the FSC falls below 0.143 if empty",
    )
    half_angle_deg: float = Field(
        10.0,
        gt=0,
        le=90,
        validation_alias=AliasChoices("half_angle_deg", "cone_sampling_angle"),
        description="half the opening of the cone that is averaged over, in degrees",
    )
    form: Literal["phase_cosine", "sum_ratio"] = Field(
        "phase_cosine", description="mean phase cosine (as spIsoNet), or ratio of sums (Tan et al. 2017)"
    )
    keep_high_resolution: bool = Field(
        False,
        validation_alias=AliasChoices("keep_high_resolution", "keep_highres"),
        description="give full weight beyond the limit resolution",
    )


class MapFsc3dJob(Job):
    """The Fourier shell correlation of two half-maps by direction."""

    kind: Literal["map.fsc3d"] = "map.fsc3d"
    inputs: HalfMapInputs
    options: Fsc3dOptions = Field(default_factory=Fsc3dOptions)


class RelionInputs(Inputs):
    """Which calls of which refinement belong to an iteration. The files themselves travel as descriptors."""

    job_dir: InputFile
    root: str = Field(min_length=1, max_length=255)
    iteration: int = Field(ge=0)
    part: Literal["class", "body"] = "class"
    number: int = Field(1, ge=1)


class RelionReconstructJob(Job):
    """One iteration of a RELION refinement, as the daemon books it."""

    user_kind: ClassVar[bool] = False

    kind: Literal["relion.reconstruct"] = "relion.reconstruct"
    inputs: RelionInputs
    options: RelionOptions = Field(default_factory=RelionOptions)  # type: ignore[assignment]


JOB_MODELS: dict[str, type[Job]] = {"map.fsc3d": MapFsc3dJob, "relion.reconstruct": RelionReconstructJob}


def user_kinds() -> list[str]:
    """The kinds that may be submitted."""
    return [kind for kind, model in JOB_MODELS.items() if model.user_kind]


def parse_job(spec: object, source: str, *, internal: bool = False) -> Job:
    """Check a job that was read from somewhere.

    Parameters
    ----------
    spec
        What YAML or JSON gave.
    source
        Where it came from, for the message: a file name, or e.g. "submit".
    internal
        True where the daemon reads its own bookings back.

    Raises
    ------
    InputInvalid
        If a key is unknown or missing or a value is out of range; one sentence.
    JobRejected
        If the kind does not exist or cannot be submitted.
    """
    if not isinstance(spec, Mapping) or not all(isinstance(key, str) for key in spec):
        raise InputInvalid(f"{source}: a job is a list of 'key: value' lines: schema, kind, inputs, output, options")
    version = spec.get("schema", spec.get("schema_version"))
    if version is None:
        raise InputInvalid(f"{source}: 'schema' is missing; write 'schema: {JOB_SCHEMA}' as its first line")
    if version != JOB_SCHEMA:
        raise InputInvalid(f"{source}: the schema is {_short(version)}; this cryobridge reads {JOB_SCHEMA}")
    kind = spec.get("kind")
    if not isinstance(kind, str):
        raise InputInvalid(f"{source}: 'kind' is missing; one of {', '.join(user_kinds())}")
    model = JOB_MODELS.get(kind)
    if model is None:
        raise JobRejected(f"{source}: there is no kind {_short(kind)}; one of {', '.join(user_kinds())}")
    if not (model.user_kind or internal):
        raise JobRejected(f"{source}: {kind} jobs are made by RELION's own calls; submit {', '.join(user_kinds())}")
    _one_name_each(spec, model, source)
    try:
        return model.model_validate(dict(spec))
    except ValidationError as error:
        raise input_invalid(error, model, source) from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _one_name_each(spec: Mapping[str, Any], model: type[Job], source: str) -> None:
    """Refuse a job that gives one thing under two of its names, since either could be meant."""
    for section, field in model.model_fields.items():
        values = spec.get(section)
        inner = field.annotation
        if not isinstance(values, Mapping) or not (isinstance(inner, type) and issubclass(inner, StrictModel)):
            continue
        for name, value_field in inner.model_fields.items():
            given = [known for known in names_of(name, value_field) if known in values]
            if len(given) > 1:
                raise InputInvalid(f"{source}: '{given[0]}' and '{given[1]}' in '{section}' are the same; give one")


def check_paths(job: Job) -> None:
    """Look for what would stop the job at once, before it is queued; nothing is changed.

    Raises
    ------
    InputInvalid
        If an input is absent, no file or unreadable, or the output folder holds a finished result or is no folder.
    """
    for key, path in job.input_files():
        try:
            if path.is_dir():
                raise InputInvalid(f"{path} ({key}) is a folder; give a file")
            if not path.is_file():
                raise InputInvalid(f"{path} ({key}) does not exist or is not a plain file")
            with path.open("rb"):
                pass
        except OSError as error:
            raise InputInvalid(f"{path} ({key}) cannot be read: {error.strerror}") from error
    halves = dict(job.input_files())
    if "half1" in halves and "half2" in halves and halves["half1"].samefile(halves["half2"]):
        raise InputInvalid(f"{halves['half1']} and {halves['half2']} are the same file; give the two half-maps")
    if job.output.exists() and not job.output.is_dir():
        raise InputInvalid(f"{job.output} (output) is a file; give the name of a folder")
    if not job.run.overwrite and (job.output / RESULT_NAME).exists():
        raise InputInvalid(
            f"{job.output} (output) holds a finished result; give another folder, or set 'overwrite: true' under 'run'"
        )


def job_json_schema() -> dict[str, Any]:
    """The JSON Schema of every job that may be submitted."""
    models = [JOB_MODELS[kind] for kind in user_kinds()]
    references, document = models_json_schema([(model, "validation") for model in models], by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": JOB_SCHEMA,
        "title": "cryobridge job",
        "oneOf": [references[(model, "validation")] for model in models],
        **document,
    }
