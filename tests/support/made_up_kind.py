"""A kind of job that nobody ships: all sorts of inputs, models inside and lists; registered while a test needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from cryobridge.schemas import envelope
from cryobridge.schemas.envelope import Inputs, Job, Options
from cryobridge.schemas.memory import MemoryEstimate, volumes
from cryobridge.schemas.outputs import REPORT, Output
from cryobridge.schemas.paths import InputFile, InputFiles, InputFolder, RunFolder
from cryobridge.schemas.validation import StrictModel

NAME = "made.up"


class Gain(StrictModel):
    """A model inside the inputs."""

    reference: InputFile = Field(description="gain reference")


class Pair(StrictModel):
    """A member of a list of models."""

    even: InputFile
    odd: InputFile


class MadeUpInputs(Inputs):
    """All sorts of inputs."""

    map: InputFile = Field(description="a file")
    movies: InputFolder | None = Field(None, description="a folder")
    refinement: RunFolder | None = Field(None, description="a run folder")
    gain: Gain | None = None
    pairs: tuple[Pair, ...] = ()
    tilt_series: InputFiles = Field(description="a list of files")


class MadeUpOptions(Options):
    """Hardly any options."""

    dose_s: float = Field(1.0, gt=0, description="how long")


@contextlib.contextmanager
def made_up_kind() -> Iterator[type[Job]]:
    """The kind, registered for as long as the context lasts."""

    class MadeUpJob(Job):
        """Do something that nobody needs."""

        outputs: ClassVar[tuple[Output, ...]] = (
            Output("result_*.mrc", "map", "maps", "maps"),
            Output("extra.csv", "table", "extra", "a table", always=False),
            REPORT,
        )

        kind: Literal["made.up"] = "made.up"
        inputs: MadeUpInputs
        options: MadeUpOptions = Field(default_factory=MadeUpOptions)

        def memory(self, box: int, device: str) -> MemoryEstimate:
            """A volume on either side."""
            return MemoryEstimate(volumes(1, box), volumes(1, box))

    try:
        yield MadeUpJob
    finally:
        del envelope.JOB_MODELS[NAME]


def spec(folder: Any, **inputs: Any) -> dict[str, Any]:
    """A job of the kind."""
    return {
        "schema": "cryobridge/job/1",
        "kind": NAME,
        "inputs": {"map": "map.mrc", "tilt_series": ["a.mrc", "b.mrc"], **inputs},
        "output": str(folder / "out"),
    }
