"""What CryoSPARC says of a job, whatever its version: the few things that are looked at here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryobridge.schemas.errors import InputInvalid

BUILDING, RUNNING, WAITING = "building", "running", "waiting"
COMPLETED, KILLED, FAILED = "completed", "killed", "failed"
GONE = "deleted"
"""What is said of a job that the server does not have any more."""
ACTIVE = frozenset({RUNNING, WAITING})
ENDED = frozenset({COMPLETED, KILLED, FAILED})
STATUSES = ACTIVE | ENDED | {BUILDING, "queued", "launched", "started"}

_PROJECT = re.compile(r"P[1-9][0-9]{0,8}")
_WORKSPACE = re.compile(r"W[1-9][0-9]{0,8}")
_JOB = re.compile(r"J[1-9][0-9]{0,8}")


@dataclass(frozen=True, order=True)
class CardId:
    """A job's place: project and job, e.g. P3 and J42."""

    project: str
    job: str

    def __str__(self) -> str:
        return f"{self.project}-{self.job}"


@dataclass(frozen=True)
class Source:
    """An output of a job that an input is connected to, and which of its results there are."""

    job: str
    output: str
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class CardInput:
    """An input of a card: what is connected to it."""

    sources: tuple[Source, ...]


@dataclass(frozen=True)
class CardOutput:
    """An output of a job: its type, and which results it has, those that were passed through included."""

    type: str
    results: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """An external job, as the server tells it at one moment.

    Attributes
    ----------
    directory
        Relative to the project's.
    tags
        Their ids.
    complaints
        Why it cannot start, in words; empty where it can.
    updated_at
        By the server's clock.
    """

    id: CardId
    type: str
    title: str
    description: str
    status: str
    directory: str
    tags: tuple[str, ...]
    inputs: Mapping[str, CardInput]
    outputs: Mapping[str, CardOutput]
    complaints: tuple[str, ...]
    updated_at: datetime

    @property
    def is_external(self) -> bool:
        """Whether it is a job whose work somebody else does."""
        return self.type == "snowflake"


@dataclass(frozen=True)
class LiveSession:
    """A session of CryoSPARC Live that is running.

    Attributes
    ----------
    workspace
        Its workspace, e.g. W3; a session is one.
    name
        As its user sees it, e.g. S1.
    tags
        Their ids.
    refinement
        The job that refines what has been collected so far; empty where there is none.
    refined_at
        When that job last brought a new map, by the server's clock.
    particles
        So many are in that map.
    """

    project: str
    workspace: str
    name: str
    tags: tuple[str, ...]
    refinement: str
    refined_at: datetime | None
    particles: int


def project_id(text: str) -> str:
    """A project's id as it was typed; raises `InputInvalid` where it is none."""
    return _named(_PROJECT, text, "project", "P3")


def workspace_id(text: str) -> str:
    """A workspace's id as it was typed; raises `InputInvalid` where it is none."""
    return _named(_WORKSPACE, text, "workspace", "W1")


def source_of(text: str) -> Source:
    """A job, or a job and its output (J42:volume), as it was typed; raises `InputInvalid` where it is none."""
    job, _, output = text.partition(":")
    _named(_JOB, job, "job", "J42 or J42:volume")
    if output and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,199}", output):
        raise InputInvalid(f"'{text[:80]}' is no output of a job; write it as in J42:volume")
    return Source(job, output)


def _named(pattern: re.Pattern[str], text: str, what: str, example: str) -> str:
    if not pattern.fullmatch(text):
        raise InputInvalid(f"'{text[:40]}' is no {what} of CryoSPARC; write it as in {example}")
    return text
