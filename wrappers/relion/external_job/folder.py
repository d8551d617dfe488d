"""The folder of a job of RELION's pipeline: which files in it are RELION's, its end marked, a wish to abort seen.

RELION's own programs do the same (`src/pipeline_control.cpp`): exactly one empty file says how a job ended, and the
pipeline looks for it.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from cryobridge.schemas.plain_file import open_plain

NODES_NAME = "RELION_OUTPUT_NODES.star"
"""What a finished job gives to the pipeline; see `nodes`."""
ABORT_NOW = "RELION_JOB_ABORT_NOW"
EXIT_ABORTED = 2
"""Status of RELION's own programs after an abort."""
_OWN = frozenset({"job.star", "continue_job.star", NODES_NAME})


class ExitMarker(StrEnum):
    """How a job ended, as the file of this name says it."""

    SUCCESS = "RELION_JOB_EXIT_SUCCESS"
    FAILURE = "RELION_JOB_EXIT_FAILURE"
    ABORTED = "RELION_JOB_EXIT_ABORTED"


def is_relions(name: str) -> bool:
    """Whether a file of a job's folder is RELION's own, by which it knows the job; nothing of ours is called so."""
    return name in _OWN or name.endswith("_pipeline.star")


class ExternalFolder:
    """The folder that RELION made for one job.

    Parameters
    ----------
    path
        It need not be there where somebody runs the command by hand.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self) -> None:
        """Remove what an earlier run said of its end; raises `OSError` if that cannot be."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in (*ExitMarker, NODES_NAME):
            (self.path / name).unlink(missing_ok=True)

    def wants_abort(self) -> bool:
        """Whether somebody chose "Abort running" in RELION's window.

        A wish from before the start counts too: RELION removes old ones before it starts a job.
        """
        return (self.path / ABORT_NOW).exists()

    def end(self, marker: ExitMarker) -> None:
        """Say how it ended, and forget a wish to abort, so that the job can be continued; raises `OSError`."""
        (self.path / ABORT_NOW).unlink(missing_ok=True)
        os.close(open_plain(self.path / marker, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW))
