"""The steps of `tomo.predict`, by what the network says of itself."""

from __future__ import annotations

from cryobridge.schemas.kinds.tomo.predict import TomoPredictJob

from ....jobs.context import Context
from ....jobs.runner import JobSteps
from ....tomograms.wedge_network import is_wedge_network
from .straight import predicted_straight
from .tiles import predicted_in_tiles


def run(job: TomoPredictJob, context: Context) -> JobSteps:
    """Write a corrected tomogram for each, the table, and the report."""
    if is_wedge_network(job.inputs.model):
        return (yield from predicted_straight(job, context))
    return (yield from predicted_in_tiles(job, context))
