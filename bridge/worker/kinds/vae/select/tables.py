"""The tables of a selection: RELION's or CryoSPARC's, whichever the particles came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.select import VaeSelectJob
from cryobridge.wrappers.cryosparc.folder.particle_group import particle_group
from cryobridge.wrappers.particles.latent_slots import latent_slots
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.choosing import Mask
from ....heterogeneity.source_table import SourceTable, passed_rows
from ....jobs.folder import OutputFolder

_TITLES = {"selected": "Selected particles", "rest": "Particles that were not selected"}


def write_tables(
    job: VaeSelectJob,
    folder: OutputFolder,
    source: SourceTable | None,
    particles: ParticleSet,
    latents: NDArray[np.float32] | None,
    selected: Mask,
    clusters: NDArray[np.int64] | None,
) -> Iterator[str]:
    """Write the selected particles, the others, and each cluster of the selected ones; say what a reader must know.

    Raises
    ------
    InputInvalid
        If latents should be added and there are none, or a passthrough table is not of these particles.
    """
    if source is None:
        yield "The particles came from a bare stack or a list of stacks: only their numbers are written."
        return
    if job.options.with_latents and latents is None:
        raise InputInvalid("with_latents: there are no latents; give the folder of a run")
    written = latents if job.options.with_latents else None
    parts = {"selected": selected, "rest": ~selected}
    prepared = {name: _passed(job, source, particles.rows[members]) for name, members in parts.items() if members.any()}
    for name, passed in prepared.items():
        members = parts[name]
        _write(folder, f"{name}{source.ending}", source, particles, written, members)
        for number, (data, _) in enumerate(passed, 1):
            folder.write_data(f"{name}_passthrough_{number}.cs", data)
        if source.ending == ".cs":
            columns = [*source.columns, *(() if written is None else latent_slots(written[:1]))]
            tables = {
                f"{name}.cs": columns,
                **{f"{name}_passthrough_{number}.cs": names for number, (_, names) in enumerate(passed, 1)},
            }
            folder.write_text(f"{name}.csg", particle_group(name, _TITLES[name], tables, int(members.sum())))
    if job.options.per_cluster and clusters is not None:
        for cluster in np.unique(clusters[selected]):
            members = selected & (clusters == cluster)
            _write(folder, f"cluster_{cluster}{source.ending}", source, particles, written, members)
    yield from _said(source, particles)


def _write(
    folder: OutputFolder,
    name: str,
    source: SourceTable,
    particles: ParticleSet,
    latents: NDArray[np.float32] | None,
    members: Mask,
) -> None:
    rows = particles.rows[members]
    folder.write_data(name, source.of_rows(rows, None if latents is None else latents[members]))


def _passed(job: VaeSelectJob, source: SourceTable, rows: NDArray[np.int64]) -> list[tuple[bytes, list[str]]]:
    """The same particles of each passthrough table: the file and its columns."""
    uids = source.uids(rows)
    tables: tuple[Path, ...] = job.inputs.passthrough or ()
    if uids is None and tables:
        raise InputInvalid(f"{source.path}: has no column 'uid', by which passthrough tables are joined")
    return [] if uids is None else [(data, list(names)) for data, names in (passed_rows(one, uids) for one in tables)]


def _said(source: SourceTable, particles: ParticleSet) -> Iterator[str]:
    unused = len(source) - len(np.unique(particles.rows))
    if unused:
        yield (
            f"{unused} of the {len(source)} particles in {source.path.name} were not used by the run; they are neither "
            "among the selected particles nor among the others."
        )
    if source.ending == ".star":
        yield (
            "Every row is as in the source, so paths of stacks are as they stand there: start RELION in the same "
            "project."
        )
    else:
        yield (
            "Every row is as in the source, so paths of stacks begin at the folder of the CryoSPARC project: import "
            "the group (.csg) into that project with Import Result Group."
        )
