"""Documents of CryoSPARC 5, read into ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...formats.cs_table import Columns
from ..documents import Card, CardId, CardInput, CardOutput, LiveSession, Source


def card_of(job: Any) -> Card:
    """A job, as `cryosparc.models.job.Job`."""
    spec = job.spec
    return Card(
        id=CardId(job.project_uid, job.uid),
        type=spec.type,
        title=job.title,
        description=job.description,
        status=job.status,
        directory=job.job_dir,
        tags=tuple(job.tags),
        inputs={
            name: CardInput(
                tuple(Source(c.job_uid, c.output, tuple(r.result for r in c.results)) for c in one.connections)
            )
            for name, one in spec.inputs.root.items()
        },
        outputs={
            name: CardOutput(one.type, tuple(r.name for r in one.results)) for name, one in spec.outputs.root.items()
        },
        complaints=tuple(".".join(str(part) for part in one.loc) + f" {one.type}" for one in job.build_errors),
        updated_at=job.updated_at,
    )


def session_of(session: Any) -> LiveSession:
    """A Live session, as `cryosparc.models.session.Session`."""
    return LiveSession(
        project=session.project_uid,
        workspace=session.uid,
        name=session.session_uid,
        tags=tuple(session.tags),
        refinement=session.phase2_refine_job or "",
        refined_at=session.phase2_refine_last_updated,
        particles=session.phase2_refine_num_particles_in,
    )


def columns_of(dataset: Any) -> Columns:
    """A table, as `cryosparc.dataset.Dataset`."""
    return {name: np.asarray(dataset[name]) for name in dataset.fields()}
