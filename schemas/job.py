"""The unit of work as users write it: one envelope for every kind, checked here and nowhere else.

YAML and JSON files, the command line, the socket and later the web form and CryoSPARC all go through these models.
A new kind is a model of its inputs, one of its options, a job class that names it, and an entry in `JOB_MODELS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError
from pydantic.json_schema import models_json_schema

from .envelope import JOB_SCHEMA, RESULT_NAME, InputFile, Inputs, Job
from .errors import InputInvalid, JobRejected
from .map_correct import MapCorrectJob, MapDiagnoseJob
from .maps import CheckJob, MapCombineJob, MapFsc3dJob, MapPostprocessJob, MapSamplingJob, MapWhitenJob
from .relion import RelionOptions
from .validation import StrictModel, input_invalid, names_of


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


_MODELS: tuple[type[Job], ...] = (
    MapFsc3dJob,
    MapWhitenJob,
    MapCombineJob,
    MapCorrectJob,
    MapPostprocessJob,
    MapSamplingJob,
    MapDiagnoseJob,
    CheckJob,
    RelionReconstructJob,
)
JOB_MODELS: dict[str, type[Job]] = {str(model.model_fields["kind"].default): model for model in _MODELS}


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
