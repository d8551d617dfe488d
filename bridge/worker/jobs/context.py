"""What a runner is given besides its job: a device, a folder, the processes it works with, its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cryobridge.core.training import ALONE, DeviceMover, Parking, Ranks

from ..loop import Progress
from .checkpoint import Checkpoints, digest_of
from .deadline import Deadline
from .folder import OutputFolder


@dataclass(frozen=True)
class Context:
    """Where and with whom one job is done.

    Attributes
    ----------
    device
        To compute on.
    folder
        Takes what the job makes. In all but the first of several processes it takes nothing, silently.
    ranks
        The processes that do the job together; `ALONE` for kinds that do not share devices.
    deadline
        The runner looks at it between two steps; a step that takes long may look too.
    parking
        What the job keeps on the device is named here, so that it can be moved away between two steps.
    """

    device: torch.device
    folder: OutputFolder
    ranks: Ranks = ALONE
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    parking: Parking = field(default_factory=lambda: Parking(DeviceMover(torch.device("cpu"))))

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes: the only one, or the first of several."""
        return self.ranks.index == 0

    def checkpoints(self, used: Mapping[str, Any]) -> Checkpoints:
        """The checkpoints of this job on these inputs.

        Parameters
        ----------
        used
            Every option that decides the result, with the defaults of the device filled in.
        """
        digest = digest_of(self.folder.job, used, self.folder.inputs)
        return Checkpoints(self.folder.path, digest, read_only=not self.leads)

    def hash_of(self, path: Path) -> str:
        """The SHA-256 of an input; it is read for that once, here or for the result's records."""
        return self.folder.inputs.hash_of(path)

    def remarked(self, lines: Iterable[str]) -> Iterator[Progress]:
        """Say what a reader must know of the inputs, in the log, in the result, and on the way."""
        said = list(lines)
        self.folder.remark(said)
        yield from (Progress(line) for line in said)

    def say(self, line: str) -> None:
        """Put a line into the job's log; what any but the first of several processes says is dropped."""
        if self.leads:
            self.folder.log(line)
