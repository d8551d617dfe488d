"""The steps of `vae.select`: read, choose, write the tables, count, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.conditions import parse_condition
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.select import SelectInputs, SelectOptions, VaeSelectJob, numbers_of
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.formats.pickled_arrays import pickled
from cryobridge.wrappers.particles.given_tables import selected_rows
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.reading import read_table_set
from cryobridge.wrappers.particles.table_choice import TableChoice

from ....heterogeneity.choosing import Mask, drawn, inside, meets, nearest, read_outline
from ....heterogeneity.objects import Objects, objects_named
from ....heterogeneity.particle_values import (
    Values,
    expect_column,
    values_of_file,
    values_of_latents,
    values_of_set,
)
from ....heterogeneity.run_folder import read_run
from ....heterogeneity.source_table import SourceTable, expect_unchanged, open_source
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress
from ....report.page import as_html
from .counts import counts_of, counts_table
from .report import Chosen, report_of
from .tables import write_tables

_RULES = ("clusters", "where", "nearest", "random")


@dataclass(frozen=True)
class _Read:
    """What a job reads.

    particles
        Of the run, or of the table.
    latents
        (N, zdim), None where there is no run.
    values
        Columns (N,) by name.
    source
        The table that the particles came from, None where there is none that rows could be taken of.
    """

    particles: ParticleSet
    latents: NDArray[np.float32] | None
    values: Values
    source: SourceTable | None

    @property
    def objects(self) -> Objects:
        """What is drawn and counted: images of a tilt series are one particle."""
        if self.latents is not None:
            return Objects.of(self.latents, self.particles)
        tilts = self.particles.tilts
        rows = np.arange(len(self.particles), dtype=np.int64)
        return Objects(rows, rows) if tilts is None else objects_named(tilts.particle)


def run(job: VaeSelectJob, context: Context) -> JobSteps:
    """Write the selected particles and the others, their numbers, counts and the report."""
    folder, options = context.folder, job.options
    if not any(getattr(options, rule) is not None for rule in _RULES) and not (job.inputs.indices or job.inputs.lasso):
        raise InputInvalid("no rule: give clusters, where, nearest, random, indices or a lasso")
    found = _read(job, context)
    particles, objects = found.particles, found.objects
    outline = None if job.inputs.lasso is None else read_outline(job.inputs.lasso)
    selected = _choose(job, found, objects, outline)
    those = objects.with_any(selected)
    clusters = _clusters(options, found.values)
    folder.mark("read")
    yield Progress(f"{int(those.sum())} of {objects.counted} selected", 0.4)

    remarks = list(write_tables(job, folder, found.source, particles, found.latents, selected, clusters))
    rows = particles.rows
    chosen, rest = np.flatnonzero(selected), np.flatnonzero(~selected)
    numbers = {"indices": rows[chosen], "rest": rows[rest], "members": chosen, "rest_members": rest}
    folder.write_data("selection.npz", arrays_bytes(numbers))
    if options.legacy:
        folder.write_data("ind.pkl", pickled(rows[chosen]))
        folder.write_data("ind_inverse.pkl", pickled(rows[rest]))
    first = objects.firsts
    counts = counts_of(particles.of(first), None if clusters is None else clusters[first], those)
    folder.write_text("counts.csv", counts_table(counts))
    folder.mark("write")
    yield Progress("wrote the tables", 0.7)

    folder.remark(remarks)
    page, metrics = report_of(
        Chosen(job, particles, objects, found.values, selected, counts, outline, tuple(remarks)), context.device
    )
    folder.write_text(REPORT_NAME, as_html(page))
    return folder.finish(
        metrics={**objects.metrics, "selected": int(those.sum()), **metrics},
        seeds={"random": options.seed} if options.random is not None else {},
    )


def _read(job: VaeSelectJob, context: Context) -> _Read:
    """Everything that is chosen by, and from.

    Raises
    ------
    InputInvalid
        If a file cannot be used, or does not belong to the others.
    """
    given = job.inputs
    latents = None
    if given.run is not None:
        trained = read_run(given.run, context.device)
        if trained.particles is None and given.particles is None:
            raise InputInvalid(f"{given.run}: does not say which particles it was trained on; give them as 'particles'")
        particles = trained.particles or _table(given)
        latents = trained.latents
        if len(latents) != len(particles):
            raise InputInvalid(
                f"{given.particles}: holds {len(particles)} particles, and the run has latents of {len(latents)}"
            )
    elif given.particles is not None:
        particles = _table(given)
    else:
        raise InputInvalid("no particles: give the folder of a run, or a table of particles")
    values = values_of_set(particles)
    if latents is not None:
        values |= values_of_latents(latents)
    for path in given.values or ():
        values |= values_of_file(path, len(particles))
    return _Read(particles, latents, values, _source(job, particles))


def _table(given: SelectInputs) -> ParticleSet:
    """The particles of the table; their images are not looked at, and what it does not say is left out."""
    choice = TableChoice(images=False)
    return read_table_set(given.particles or Path(), given.passthrough or (), choice)


def _source(job: VaeSelectJob, particles: ParticleSet) -> SourceTable | None:
    path = job.inputs.particles or particles.source
    if path is None:
        return None
    if not path.is_file():
        raise InputInvalid(f"{path}: the table of the run's particles is not there any more; give it as 'particles'")
    if job.inputs.run is not None:
        expect_unchanged(path, job.inputs.run)
    return open_source(path, particles)


def _choose(job: VaeSelectJob, found: _Read, objects: Objects, outline: NDArray[np.float64] | None) -> Mask:
    """The particles (N,) that meet every rule, or those that do not."""
    options, values, count = job.options, found.values, len(found.particles)
    chosen = np.ones(count, np.bool_)
    if job.inputs.indices is not None:
        there = len(found.particles) if found.source is None else len(found.source)
        wanted = selected_rows(job.inputs.indices, there, found.particles.name)
        lost = ~np.isin(wanted, found.particles.rows)
        if lost.any():
            raise InputInvalid(
                f"{job.inputs.indices}: names particle {int(wanted[lost][0])}, which is none of the {count} that the "
                "run used; indices count from 0 on, in the order of their table"
            )
        chosen &= np.isin(found.particles.rows, wanted)
    if options.clusters is not None:
        chosen &= _of_clusters(options, values)
    if options.where is not None:
        chosen &= meets(parse_condition(options.where), values, count)
    if outline is not None:
        x, y = (expect_column(values, name, "lasso_axes") for name in options.lasso_axes.replace(",", " ").split())
        chosen &= inside(outline, x, y)
    if options.nearest is not None:
        if found.latents is None or options.nearest_to is None:
            raise InputInvalid("nearest: needs a run, and the place in 'nearest_to'")
        place, latents = numbers_of(options.nearest_to), found.latents[objects.firsts]
        chosen &= nearest(latents, place, options.nearest, objects.with_any(chosen))[objects.of_row]
    if options.random is not None:
        chosen &= drawn(objects.with_any(chosen), options.random, options.seed)[objects.of_row]
    chosen = ~chosen if options.invert else chosen
    if not chosen.any():
        raise InputInvalid("no particle meets the rules, so there is nothing to write; loosen them")
    return chosen


def _of_clusters(options: SelectOptions, values: Values) -> Mask:
    labels = expect_column(values, options.cluster_column, "clusters")
    wanted = np.array(numbers_of(options.clusters or ""))
    lost = wanted[~np.isin(wanted, labels)]
    if lost.size:
        known = ", ".join(f"{label:g}" for label in np.unique(labels[np.isfinite(labels)])[:40])
        raise InputInvalid(f"clusters: no particle is of '{options.cluster_column}' {lost[0]:g}; there are {known}")
    return np.isin(labels, wanted)


def _clusters(options: SelectOptions, values: Values) -> NDArray[np.int64] | None:
    """The cluster of each particle (N,), where there are any.

    Raises
    ------
    InputInvalid
        If tables by cluster were asked for, and there are none.
    """
    if options.per_cluster or options.cluster_column in values:
        labels = expect_column(values, options.cluster_column, "per_cluster")
        return np.where(np.isfinite(labels), labels, -1).astype(np.int64)
    return None
