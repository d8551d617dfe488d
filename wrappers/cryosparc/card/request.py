"""A card as a job of the job schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryobridge.schemas.describe import describe_kind, nested
from cryobridge.schemas.envelope import JOB_SCHEMA
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.job import JOB_MODELS, check_paths, parse_job

from ..documents import Card
from ..options_block import CardOptions, read_block
from ..recipes import CardRecipe, recipe_of, recipes
from ..server import CryosparcServer
from .inputs import staged
from .project_files import ProjectFiles

_SOURCE = "the options in this job's description"


@dataclass(frozen=True)
class Request:
    """What is asked of the daemon, and what has to be known when it is done.

    Attributes
    ----------
    notes
        What was taken for what, a line each.
    uids
        Of the rows of each input.
    """

    recipe: CardRecipe
    spec: dict[str, Any]
    output: Path
    notes: tuple[str, ...]
    uids: Mapping[str, np.ndarray]
    files: ProjectFiles


def request_of(server: CryosparcServer, card: Card, files: ProjectFiles, request_id: str) -> Request:
    """Make the job of a card, and check it as the daemon will.

    Raises
    ------
    OptionsInvalid, JobRejected
        If the description asks for what there is not.
    InputInvalid
        If what is connected cannot be used.
    """
    asked = read_block(card.description)
    recipe = recipe_for(asked.kind)
    found = staged(server, card, recipe, files, asked.use_mask)
    spec = {
        "schema": JOB_SCHEMA,
        "kind": asked.kind,
        "inputs": _inputs(asked.kind, found.paths),
        "output": str(files.output_folder),
        "options": asked.options,
        # The folder is the card's own; what an earlier run of it left may go.
        "run": {"request_id": request_id, "overwrite": True},
    }
    job = parse_job(spec, _SOURCE)
    check_paths(job)
    return Request(recipe, job.as_spec(), files.output_folder, tuple(found.notes), found.uids, files)


def check_options(asked: CardOptions) -> None:
    """Check what is asked for as the daemon will, before there is a card or anything is connected.

    Raises
    ------
    OptionsInvalid, JobRejected
        If there is no such job, or no such option.
    """
    recipe = recipe_for(asked.kind)
    connected = {key: Path("/") / key for group in recipe.inputs for _, key in group.feeds}
    connected |= {} if recipe.project is None else {recipe.project[0]: Path("/")}
    inputs = _inputs(asked.kind, connected)
    spec = {"schema": JOB_SCHEMA, "kind": asked.kind, "inputs": inputs, "output": "/output", "options": asked.options}
    parse_job(spec, "the options")


def recipe_for(kind: str) -> CardRecipe:
    """The recipe of a kind; raises `JobRejected` where there is none."""
    if kind not in JOB_MODELS or kind not in recipes():
        raise JobRejected(f"'{kind[:80]}' is no job for CryoSPARC; there are {', '.join(sorted(recipes()))}")
    return recipe_of(JOB_MODELS[kind])


def _inputs(kind: str, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Inputs as a job has them; what is a list there has one member here."""
    lists = {field.key for field in describe_kind(JOB_MODELS[kind]).inputs if field.type == "files"}
    return nested({key: [str(path)] if key in lists else str(path) for key, path in paths.items()})
