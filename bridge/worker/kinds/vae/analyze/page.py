"""The page of `vae.analyze`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.landscape import LatentAgreement
from cryobridge.schemas.kinds.vae.analyze import AnalyzeOptions

from ....heterogeneity import words
from ....heterogeneity.covariates import warnings_of
from ....heterogeneity.drawn import DrawnFigures
from ....heterogeneity.finishing import Finishing
from ....heterogeneity.run_folder import LatentRun
from ....heterogeneity.series import Series, SeriesLook, frequencies
from ....heterogeneity.training_curve import training_panels
from ....report import figures, methods
from ....report.page import Report
from ....report.quantities import angstrom, percent
from .findings import LatentFindings, VolumeComponents

_AGREE = 0.8
"""Below this rank correlation the first components of latents and volumes are said to differ."""
_CONVERGED = 0.9
"""Canonical correlation of the last two kept epochs from which latents are said to stand still."""
_USED = 0.05
"""Nats from which a number of the latent carries something."""
_MOST_CURVES = 9


@dataclass(frozen=True)
class AnalyzedRun:
    """What the page is about."""

    options: AnalyzeOptions
    run: LatentRun
    found: LatentFindings
    finishing: Finishing
    series: Sequence[tuple[Series, SeriesLook]]
    volumes: VolumeComponents | None
    epochs: Sequence[tuple[int, int, LatentAgreement]]
    umap: NDArray[np.float64] | None


def page_of(done: AnalyzedRun) -> tuple[Report, list[str]]:
    """The page, and remarks on figures that could not be drawn."""
    drawn = DrawnFigures()
    _latent_figures(done, drawn)
    _volume_figures(done, drawn)
    _training_figures(done, drawn)
    found, options = done.found, done.options
    passages = [words.clusters_passage(len(found.clusters.counts))]
    if len(done.series) > 1:
        passages.append(words.traversal_passage(options.per_component))
    if done.umap is not None:
        passages.append(words.umap_passage())
    paragraphs, references = methods.write(passages)
    largest = float(found.clusters.counts.max() / found.clusters.counts.sum())
    page = Report(
        title="What the latents say",
        summary=f"{found.objects.counted} in {len(found.clusters.counts)} clusters; the first component holds "
        f"{percent(float(found.components.shares[0]))} of the latents' variance"
        + (f" and that of volumes {percent(float(done.volumes.shares[0]))}." if done.volumes is not None else "."),
        facts={
            "run": str(done.run.path),
            "model": done.run.model.name,
            "latent": f"{found.latents.shape[1]} numbers",
            "epoch": "the last" if options.epoch is None else str(options.epoch),
            "largest cluster": percent(largest),
            "volumes": f"box {done.finishing.box}, {angstrom(done.finishing.voxel_size_A)} a voxel"
            if done.series
            else "none were asked for",
        },
        figures=drawn.figures,
        statements=[*_remarks_of(done), *drawn.remarks, *words.CAVEATS],
        methods=paragraphs,
        references=references,
        warnings=[*warnings_of(found.dependences), *_doubts(done)],
    )
    return page, drawn.remarks


def _doubts(done: AnalyzedRun) -> list[str]:
    """What may be wrong with the training itself."""
    said = []
    if done.found.kl is not None and not (done.found.kl > _USED).any():
        said.append(
            "No number of the latent carries anything (KL below "
            f"{_USED} nats): the training collapsed, or the particles are all alike."
        )
    if done.epochs:
        first, second, alike = done.epochs[-1]
        canonical = float(alike.canonical.mean())
        if canonical < _CONVERGED:
            said.append(
                f"Between epochs {first} and {second} latents still changed (canonical correlation {canonical:.2f}): "
                "train longer before reading anything off them."
            )
    return said


def _remarks_of(done: AnalyzedRun) -> list[str]:
    if done.volumes is None or done.found.latents.shape[1] == 1:
        return []
    agrees = done.volumes.agrees
    if agrees >= _AGREE:
        return [
            f"The first component of the latents orders the particles as the largest change of the volumes does (rank "
            f"correlation {agrees:.2f})."
        ]
    return [
        f"The first component of the latents is not the largest change of the volumes (rank correlation {agrees:.2f}): "
        "which direction of a latent space varies most depends on the model's own coordinates. Order particles by "
        "'volume_pc' of analysis.npz instead."
    ]


def _latent_figures(done: AnalyzedRun, drawn: DrawnFigures) -> None:
    found, counts = done.found, done.found.clusters.counts
    planes = _planes(done)
    if not planes:
        marks = found.latents[found.clusters.centres, 0]
        drawn.add(
            "Latents",
            lambda: figures.latent_histogram(found.latents[:, 0], "latent", np.sort(marks)),
            "How many particles have which latent, and where the clusters' centres lie.",
            table="particles.csv",
            is_tile=True,
        )
    for name, (points, axes) in planes.items():
        centres = points[found.clusters.centres]
        drawn.add(
            f"{name}: where particles are",
            partial(figures.latent_map, points, axes, centres),
            "Particles by place; numbers are the clusters' centres, from 0 on.",
            table="particles.csv",
            is_tile=name == next(iter(planes)),
        )
        drawn.add(
            f"{name}: clusters",
            partial(figures.latents_by_cluster, points, found.clusters.labels.astype(np.float64), axes, centres),
            "Near numbers are near clusters. Neighbouring colours that lie far apart are far apart only in this plane.",
            table="clusters.csv",
        )
    if planes and found.covariates:
        points, axes = next(iter(planes.values()))
        shown = {**found.covariates, "density (ln)": found.density}
        drawn.add(
            "By defocus, view, shift and micrograph",
            lambda: figures.latents_by_value(points, shown, axes),
            "Means by place. Of a molecule's own motion none of these should change across the plane; see the warnings "
            "where one does.",
            table="correlations.csv",
        )
    drawn.add(
        "Particles per cluster",
        lambda: figures.bars(counts.astype(np.float64), "cluster", "particles"),
        "Clusters of few particles are often junk, or ends of a motion.",
        table="clusters.csv",
    )
    shares = {"latents": found.components.shares[:12]}
    if done.volumes is not None:
        shares["volumes"] = done.volumes.shares
    drawn.add(
        "Variance by component",
        lambda: figures.variance_explained(shares),
        "Of the latents."
        if done.volumes is None
        else "Of the latents, and of the volumes at the clusters' centres counted by their particles (frequencies up "
        "to 8 per box). The second does not depend on the model's coordinates.",
        table="components.csv",
    )


def _volume_figures(done: AnalyzedRun, drawn: DrawnFigures) -> None:
    for series, look in done.series:
        of_clusters = series.prefix == "kmeans_"
        title = "Volumes at the clusters' centres" if of_clusters else f"Volumes along component {series.prefix[2:-1]}"
        counts = done.found.clusters.counts
        titles = (
            [f"{cluster}: {count}" for cluster, count in enumerate(counts.tolist())]
            if of_clusters
            else [str(number) for number in series.numbers]
        )
        drawn.add(
            title,
            partial(look.strip, titles, done.finishing),
            "Surfaces that enclose equal volumes, from two sides, and what the central section across y has more (red) "
            "or less (blue) than the mean of the series."
            + (
                " Above each the cluster and its particles." if of_clusters else " From the 5th to the 95th percentile."
            ),
            table="clusters.csv" if of_clusters else "",
        )
    curves = {
        f"{first} and {second}": curve[1:].numpy()
        for series, look in done.series
        for first, second, curve in zip(_short(series), _short(series)[1:], look.curves, strict=False)
    }
    if curves:
        least = sorted(curves, key=lambda name: float(curves[name].mean()))[:_MOST_CURVES]
        drawn.add(
            "FSC of neighbouring volumes",
            lambda: figures.neighbour_curves({name: curves[name] for name in least}, frequencies(done.finishing)),
            "Of the neighbours that are least alike. Where a curve falls below 0.5 the volumes differ; it is no "
            "resolution, since volumes of one model share its errors.",
            table="neighbours.csv",
        )


def _training_figures(done: AnalyzedRun, drawn: DrawnFigures) -> None:
    kl = done.found.kl
    if kl is not None:
        drawn.add(
            "Information by number of the latent",
            lambda: figures.bars(kl, "number of the latent (from 0 on)", "KL (nats)", {"in use from": _USED}),
            "Numbers near zero are not used by the model.",
        )
    curve = training_panels(done.run.path)
    if curve is not None:
        drawn.add(
            "Learning curve",
            lambda: figures.over_epochs(curve.epochs, curve.panels),
            "As the training wrote it, by epoch.",
        )
    if done.epochs:
        at = [second for _, second, _ in done.epochs]
        alike = {
            "canonical correlation": np.array([one.canonical.mean() for *_, one in done.epochs]),
            "turn and scale": np.array([one.procrustes for *_, one in done.epochs]),
            "shared neighbours": np.array([one.neighbours for *_, one in done.epochs]),
            "clusters": np.array([one.labels for *_, one in done.epochs]),
        }
        drawn.add(
            "Convergence",
            lambda: figures.over_epochs(at, {"like the epoch before": alike}),
            "How alike latents are to those of the kept epoch before; 1 is the same. Neighbours and clusters of one "
            "continuous cloud never come to 1.",
            table="epochs.csv",
        )


def _planes(done: AnalyzedRun) -> dict[str, tuple[NDArray[np.float64], tuple[str, str]]]:
    """Planes to draw particles in; none for a latent of one number."""
    found = done.found
    if found.latents.shape[1] < 2:
        return {}
    planes = {"Components": (found.scores[:, :2], ("PC1", "PC2"))}
    if done.volumes is not None and done.volumes.scores.shape[1] > 1:
        planes["Components of volumes"] = (done.volumes.scores[:, :2], ("volume PC1", "volume PC2"))
    if done.umap is not None:
        planes["UMAP"] = (done.umap, ("UMAP 1", "UMAP 2"))
    return planes


def _short(series: Series) -> list[str]:
    return [name.removesuffix(".mrc") for name in series.names]
