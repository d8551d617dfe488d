"""The steps of `tomo.refine`, by method."""

from __future__ import annotations

from cryobridge.schemas.kinds.tomo.refine import TomoRefineJob

from ....jobs.context import Context
from ....jobs.runner import JobSteps
from .isonet import refined_by_isonet

_METHODS = {"isonet": refined_by_isonet}


def run(job: TomoRefineJob, context: Context) -> JobSteps:
    """Train, and write the network, its settings and losses, and the report."""
    return (yield from _METHODS[job.options.method](job, context))
