"""A daemon whose jobs are computed once in a test run and copied afterwards: the server is what is tested."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress

from .cryosparc import DirectDaemon

_CANNED: dict[str, Path] = {}
_SHELF = tempfile.TemporaryDirectory(prefix="cb-canned-")


@dataclass
class CannedDaemon(DirectDaemon):
    """A `DirectDaemon` that computes each kind with the same options and inputs of the same names once.

    Attributes
    ----------
    between
        Called at each wait for a job, with the number of the wait from 1 on: what happens while it runs.
    """

    between: Callable[[int], None] = field(default=lambda _: None)

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        job = self.jobs[job_id]
        self.between(job["waits"] + 1)
        spec = job["spec"]
        canned = _CANNED.get(_label(spec))
        if job["end"] is None and job["waits"] >= self.slices and canned is not None:
            shutil.copytree(canned, spec["output"], dirs_exist_ok=True)
            job["end"] = JobEnd("succeeded", "", "")
        end = super().end_of(job_id, timeout_s, on_progress)
        if canned is None and end is not None and end.state == "succeeded":
            place = Path(_SHELF.name) / str(len(_CANNED))
            shutil.copytree(spec["output"], place)
            _CANNED[_label(spec)] = place
        return end


def _label(spec: dict[str, Any]) -> str:
    """What makes the result, as long as all inputs are those of the sample."""
    inputs = {key: Path(path).name for key, path in spec["inputs"].items() if path}
    return json.dumps([spec["kind"], inputs, spec["options"]], sort_keys=True)
