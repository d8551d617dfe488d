"""The steps of `vae.analyze`: what is cheap and needed first, figures after the data, UMAP last."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.landscape import LatentAgreement, traversal, umap_of
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.analyze import AnalyzeOptions, VaeAnalyzeJob

from ....beside import beside
from ....heterogeneity.chosen import chosen_latents
from ....heterogeneity.covariates import warnings_of
from ....heterogeneity.decoding import expect_room_on_disk
from ....heterogeneity.finishing import Finishing, finishing_of
from ....heterogeneity.run_folder import LatentRun, read_run
from ....heterogeneity.series import (
    Series,
    SeriesLook,
    neighbour_table,
    write_script,
    write_series,
    z_text,
)
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress
from ....report.page import as_html
from . import tables
from .findings import (
    LatentFindings,
    VolumeComponents,
    epoch_agreements,
    latent_findings,
    volume_components,
)
from .notebook import notebook_text
from .page import AnalyzedRun, page_of

ANALYSIS = "analysis.npz"


@dataclass
class _MadeSoFar:
    """What the job has made so far."""

    series: list[tuple[Series, SeriesLook]] = field(default_factory=list)
    volumes: VolumeComponents | None = None
    epochs: list[tuple[int, int, LatentAgreement]] = field(default_factory=list)
    umap: NDArray[np.float64] | None = None


def run(job: VaeAnalyzeJob, context: Context) -> JobSteps:
    """Open the run and look at it."""
    options = job.options
    if options.umap and importlib.util.find_spec("umap") is None:
        raise InputInvalid("umap: umap-learn is not installed; install cryobridge[vae], or leave 'umap' out")
    found = yield from analysed(read_run(job.inputs.run, context.device), options, context)
    return context.folder.finish(
        metrics=found.metrics,
        options={**options.model_dump(mode="json"), "box": found.box},
        statements=found.statements,
        seeds={"k-means": options.seed} | ({"umap": options.seed} if options.umap else {}),
    )


@dataclass(frozen=True)
class Analysis:
    """What a finished analysis says of itself: for the result of the job that made it."""

    metrics: dict[str, float | int | list[float]]
    box: int | None
    statements: list[str]


def analysed(
    run_: LatentRun, options: AnalyzeOptions, context: Context, report_name: str = REPORT_NAME
) -> Generator[Progress | None, None, Analysis]:
    """Write the numbers, then the volumes, then the report, then a UMAP if one was asked for.

    Raises
    ------
    InputInvalid
        If the run has no latents to look at, or the disk no room for the volumes.
    """
    folder = context.folder
    latents, finishing = chosen_latents(run_, options.epoch), finishing_of(options, run_)
    yield Progress(f"read latents of {run_.objects_in(latents).counted}, {latents.shape[1]} numbers each", 0.02)
    found = yield from latent_findings(run_, options, latents)
    made, series = _MadeSoFar(), _series_of(found, options)
    expect_room_on_disk(folder.path, sum(len(one.z) for one in series), finishing.box)
    yield from context.remarked(_remarks(found, options))
    _write_numbers(context, found, made)
    for one in series:
        folder.write_text(f"z_{one.prefix.rstrip('_')}.txt", z_text(one.z))
    if options.notebook:
        folder.write_text("analysis.ipynb", notebook_text())
    folder.mark("latents")
    yield from _volumes(context, run_, series, finishing, found, made)
    folder.mark("volumes")
    for one_epoch in epoch_agreements(run_):
        if one_epoch is None:
            yield None
            continue
        made.epochs.append(one_epoch)
        yield Progress(f"compared epochs {one_epoch[0]} and {one_epoch[1]}", 0.82)
    if made.epochs:
        folder.write_text("epochs.csv", tables.epoch_table(made.epochs))
    report = (report_name, options, context, run_, found, finishing, made)
    yield from _report(*report)
    if options.umap:
        yield Progress("UMAP", 0.9)
        made.umap = yield from beside(partial(umap_of, found.latents, options.seed))
        _write_numbers(context, found, made)
        yield from _report(*report)
        folder.mark("umap")
    return Analysis(_metrics(found, made), finishing.resampled, warnings_of(found.dependences))


def _series_of(found: LatentFindings, options: AnalyzeOptions) -> list[Series]:
    """The series of volumes that are made: the clusters' centres, and along each component."""
    if options.skip_volumes:
        return []
    first = options.first_number
    series = [Series("kmeans_", found.latents[found.clusters.centres], first)]
    # Of one number percentiles say more than even steps: it has no other component to lie beside.
    even = found.latents.shape[1] > 1
    for number in range(min(options.components, found.latents.shape[1])):
        along = traversal(found.components, found.latents, number, options.per_component, even=even)
        series.append(Series(f"pc{number + 1}_", along, first))
    return series


def _remarks(found: LatentFindings, options: AnalyzeOptions) -> list[str]:
    """What a reader must know of the choices."""
    said = []
    if len(found.clusters.counts) < options.clusters:
        said.append(
            f"There are {len(found.clusters.counts)} clusters, not {options.clusters}: particles do not differ more, "
            "or k-means in batches left the others without any."
        )
    if options.components > found.latents.shape[1] and not options.skip_volumes:
        said.append(f"There are {found.latents.shape[1]} components, not {options.components}.")
    return said


def _write_numbers(context: Context, found: LatentFindings, made: _MadeSoFar) -> None:
    """Write what is known so far of particles, clusters and components."""
    folder = context.folder
    folder.write_data(ANALYSIS, tables.analysis_bytes(found, made.volumes, made.umap))
    folder.write_text("clusters.csv", tables.cluster_table(found))
    folder.write_text("particles.csv", tables.particle_table(found))
    folder.write_text("components.csv", tables.component_table(found, made.volumes))
    if found.dependences:
        folder.write_text("correlations.csv", tables.correlation_table(found))


def _volumes(
    context: Context,
    run_: LatentRun,
    series: list[Series],
    finishing: Finishing,
    found: LatentFindings,
    made: _MadeSoFar,
) -> JobSteps:
    """Make the volumes of every series, and what they say together."""
    total, before = max(sum(len(one.z) for one in series), 1), 0
    with context.parking.holding(run_.model.held):
        for one in series:
            look = SeriesLook(len(one.z))
            done = (0.05 + 0.75 * before / total, 0.05 + 0.75 * (before + len(one.z)) / total)
            yield from write_series(context, run_, one, finishing, look.add, done)
            write_script(context, f"{one.prefix.rstrip('_')}.cxc", one.names, look.levels, finishing)
            made.series.append((one, look))
            before += len(one.z)
    if made.series:
        context.folder.write_text("neighbours.csv", neighbour_table(made.series, finishing))
        made.volumes = yield from volume_components(found, made.series)
        _write_numbers(context, found, made)
    return {}


def _report(
    name: str,
    options: AnalyzeOptions,
    context: Context,
    run_: LatentRun,
    found: LatentFindings,
    finishing: Finishing,
    made: _MadeSoFar,
) -> JobSteps:
    """Draw and write the page."""
    yield Progress("figures", 0.85)
    page, remarks = page_of(
        AnalyzedRun(options, run_, found, finishing, made.series, made.volumes, made.epochs, made.umap)
    )
    context.folder.remark(remarks)
    context.folder.write_text(name, as_html(page))
    return {}


def _metrics(found: LatentFindings, made: _MadeSoFar) -> dict[str, float | int | list[float]]:
    metrics: dict[str, float | int | list[float]] = {
        **found.objects.metrics,
        "latent_dimensions": found.latents.shape[1],
        "clusters": len(found.clusters.counts),
        "latent_shares": [round(float(share), 6) for share in found.components.shares[:8]],
        "volumes": sum(len(one.z) for one, _ in made.series),
        "strong_dependences": sum(one.is_strong for one in found.dependences),
    }
    if made.volumes is not None:
        metrics["volume_shares"] = [round(float(share), 6) for share in made.volumes.shares]
        metrics["components_agree"] = round(made.volumes.agrees, 6)
    return metrics
