"""`relion.reconstruct`: one iteration of a RELION refinement, as the daemon books it; nobody submits it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ...envelope import Inputs, Job
from ...memory import MemoryEstimate, volumes
from ...paths import InputFolder
from ...relion import RelionOptions


class RelionInputs(Inputs):
    """Which calls of which refinement belong to an iteration. The files themselves travel as descriptors."""

    job_dir: InputFolder
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

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """For each half the padded sums, data and weight, of a box twice as wide, and its map."""
        return MemoryEstimate(volumes(2, box), volumes(2 * (1.5 * 2**3 + 1), box))
