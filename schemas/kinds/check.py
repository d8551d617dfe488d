"""`check`: whether this machine can do the work."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ..envelope import Inputs, Job, Options
from ..memory import REPORT_BYTES, MemoryEstimate, volumes
from ..outputs import REPORT, Output
from .map.correct import CorrectOptions, correction_bytes

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
        """On the host the simulated pair with its truth and spectra; on the device a correction of it by default."""
        network = CorrectOptions().network_options(device)
        return MemoryEstimate(REPORT_BYTES + volumes(12, box), correction_bytes(network, box))
