"""`check`: whether this machine can do the work."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ..envelope import Inputs, Job, Options
from ..memory import MemoryEstimate, volumes
from ..outputs import REPORT, Output

BOXES = {"cpu": 48, "cuda": 96}
"""Of the simulated pair that is worked on."""


class CheckJob(Job):
    """See whether this machine can do the work: device, memory, a training step, disk."""

    outputs: ClassVar[tuple[Output, ...]] = (REPORT,)

    kind: Literal["check"] = "check"
    inputs: Inputs = Field(default_factory=Inputs)
    options: Options = Field(default_factory=Options)

    def own_box(self, device: str) -> int:
        """Box of the simulated pair."""
        return BOXES[device.split(":")[0]]

    def memory(self, box: int, device: str) -> MemoryEstimate:
        """MEMDOC."""
        return MemoryEstimate(volumes(10, box), volumes(10, box))
