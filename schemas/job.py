"""The unit of work as users write it: one envelope for every kind, checked here and nowhere else.

YAML and JSON files, the command line, the socket and later the web form and CryoSPARC all go through these models.
A new kind is a module of `schemas.kinds`: a model of its inputs, one of its options, and a job class that names it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from .bounds import MAX_DEPTH, MAX_KEYS, MAX_VALUES
from .describe import describe_kind
from .envelope import JOB_MODELS, JOB_NAME, JOB_SCHEMA, RESULT_NAME, Job
from .errors import InputInvalid, JobRejected, OptionsInvalid
from .kinds import load_kinds
from .paths import InputPath, Must
from .plain_file import open_plain
from .validation import StrictModel, input_invalid, names_of, short

__all__ = ["JOB_MODELS", "check_paths", "job_json_schema", "parse_job", "user_kinds"]

load_kinds()

_NAMED_KINDS = 8
"""How many kinds a message names where what was asked for is none."""


def user_kinds() -> list[str]:
    """The kinds that may be submitted, in the order of the alphabet."""
    return sorted(kind for kind, model in JOB_MODELS.items() if model.user_kind)


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
        If a key is unknown or missing or a value is out of range; one sentence. `OptionsInvalid` where it is known
        which key.
    JobRejected
        If the kind does not exist or cannot be submitted.
    """
    if not isinstance(spec, Mapping) or not all(isinstance(key, str) for key in spec):
        raise InputInvalid(f"{source}: a job is a list of 'key: value' lines: schema, kind, inputs, output, options")
    _refuse_excess(spec, source)
    version = spec.get("schema", spec.get("schema_version"))
    if version is None:
        raise InputInvalid(f"{source}: 'schema' is missing; write 'schema: {JOB_SCHEMA}' as its first line")
    if version != JOB_SCHEMA:
        raise InputInvalid(f"{source}: the schema is {short(version)}; this cryobridge reads {JOB_SCHEMA}")
    kind = spec.get("kind")
    if not isinstance(kind, str):
        raise InputInvalid(f"{source}: 'kind' is missing; write e.g. 'kind: map.correct' (docs/jobs.md has all)")
    model = JOB_MODELS.get(kind)
    if model is None:
        near, others = _nearest(kind)
        raise JobRejected(f"{source}: there is no kind {short(kind)}; one of {', '.join(near)}, or {others} others")
    if not (model.user_kind or internal):
        raise JobRejected(f"{source}: {kind} jobs are made by RELION's own calls; docs/jobs.md has what you may submit")
    _one_name_each(spec, model, source)
    try:
        return model.model_validate(dict(spec))
    except ValidationError as error:
        raise input_invalid(error, model, source, spec) from error


def _refuse_excess(spec: Mapping[str, Any], source: str) -> None:
    """Refuse what no job can be before every value of it is looked at."""
    level: list[object] = [spec]
    count = 0
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, Mapping) and len(value) > MAX_KEYS:
                raise InputInvalid(f"{source}: a table of {len(value)} keys; no job has one of more than {MAX_KEYS}")
            if isinstance(value, Mapping | list | tuple):
                count += len(value)
                if count > MAX_VALUES:
                    raise InputInvalid(f"{source}: holds more than {MAX_VALUES} values, so it is no job")
                below.extend(value.values() if isinstance(value, Mapping) else value)
        level = below
    if level:
        raise InputInvalid(f"{source}: nested too deeply")


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
                raise OptionsInvalid(source, f"'{given[0]}' and '{given[1]}' in '{section}' are the same; give one")


def _nearest(kind: str) -> tuple[list[str], int]:
    """Kinds that may be submitted and are written most like `kind`, the nearest first; how many others there are."""
    word = kind[:80]
    known = sorted(user_kinds(), key=lambda known: -difflib.SequenceMatcher(None, word, known).ratio())
    return known[:_NAMED_KINDS], len(known) - _NAMED_KINDS


def check_paths(job: Job) -> None:
    """Look for what would stop the job at once, before it is queued; nothing is changed.

    Raises
    ------
    InputInvalid
        If an input is absent, not what it must be or unreadable, or the output folder holds a finished result or is no
        folder.
    """
    for found in job.paths():
        try:
            _check_path(found)
        except OSError as error:
            raise InputInvalid(f"{found.path} ({found.key}) cannot be read: {error.strerror}") from error
    halves = {found.key: found.path for found in job.paths() if found.key in ("half1", "half2")}
    if len(halves) == 2 and halves["half1"].samefile(halves["half2"]):
        raise InputInvalid(f"{halves['half1']} and {halves['half2']} are the same file; give the two half-maps")
    if job.output.exists() and not job.output.is_dir():
        raise InputInvalid(f"{job.output} (output) is a file; give the name of a folder")
    if not job.run.overwrite and (job.output / RESULT_NAME).exists():
        raise InputInvalid(
            f"{job.output} (output) holds a finished result; give another folder, or set 'overwrite: true' under 'run'"
        )


def _check_path(found: InputPath) -> None:
    key, path, must = found
    if must is Must.BE_FILE:
        if path.is_dir():
            raise InputInvalid(f"{path} ({key}) is a folder; give a file")
        if not path.is_file():
            raise InputInvalid(f"{path} ({key}) does not exist or is not a plain file")
        os.close(open_plain(path))
        return
    if must is Must.BE_THERE and path.is_file():
        os.close(open_plain(path))
        return
    if path.is_file():
        raise InputInvalid(f"{path} ({key}) is a file; give {must.value}")
    if not path.is_dir():
        missing = "does not exist" if must is Must.BE_THERE else "does not exist or is not a folder"
        raise InputInvalid(f"{path} ({key}) {missing}")
    next(path.iterdir(), None)
    # A foreign program's folder says in its own way whether it is finished; whoever reads it asks.
    if must is Must.BE_RUN and (path / JOB_NAME).exists() and not (path / RESULT_NAME).exists():
        raise InputInvalid(f"{path} ({key}) holds a job that has not finished; wait for its end, or run it again")


def job_json_schema() -> dict[str, Any]:
    """The JSON Schema of every job that may be submitted, with an example of each kind."""
    models = [JOB_MODELS[kind] for kind in user_kinds()]
    references, document = models_json_schema([(model, "validation") for model in models], by_alias=True)
    for model in models:
        name = references[(model, "validation")]["$ref"].rpartition("/")[2]
        document["$defs"][name]["examples"] = [describe_kind(model).example()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": JOB_SCHEMA,
        "title": "cryobridge job",
        "oneOf": [references[(model, "validation")] for model in models],
        **document,
    }
