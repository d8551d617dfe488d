"""The steps of `tomo.refine`, by method."""

from __future__ import annotations

from cryobridge.schemas.kinds.tomo.refine import TomoRefineJob

from ....jobs.context import Context
from ....jobs.runner import JobSteps
from .isonet import refined_by_isonet
from .on_the_fly import refined_on_the_fly
from .wedge_start import method_of


def run(job: TomoRefineJob, context: Context) -> JobSteps:
    """Train, and write the network, its settings and losses, and the report."""
    method = method_of(job)
    if method == "isonet":
        return (yield from refined_by_isonet(job, context))
    return (yield from refined_on_the_fly(job, context, method))
