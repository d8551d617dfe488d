"""What is found out about latents without making a volume, and what volumes at the clusters' centres add."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.landscape import (
    Clusters,
    Components,
    LatentAgreement,
    MaskedVolumes,
    ScoreMap,
    agreement,
    distinct,
    k_means,
    log_density,
    mapped,
    principal_components,
    rank_correlation,
    volume_space,
)
from cryobridge.core.latent import LinearModel
from cryobridge.schemas.kinds.vae.analyze import AnalyzeOptions

from ....beside import beside
from ....heterogeneity.covariates import Columns, Dependence, covariates_of, dependences
from ....heterogeneity.objects import Objects
from ....heterogeneity.run_folder import LatentRun, Latents
from ....heterogeneity.series import Series, SeriesLook

Numbers = NDArray[np.float64]

_FEWEST_PARTICLES = 3
_LOOKED_AT = 3
"""Components that are held against defocus, view and shift."""
_MOST_EPOCHS = 12
"""Kept epochs that are compared."""
_VOLUME_COMPONENTS = 5


@dataclass(frozen=True)
class LatentFindings:
    """What latents say by themselves.

    Attributes
    ----------
    objects
        The N particles among the run's rows: images of one object with one latent are one particle.
    latents
        (N, d).
    components, scores
        Of the latents, and where each lies along them (N, d).
    clusters
        By k-means.
    density
        (N,) logarithm, to a constant.
    covariates, dependences
        What is known of the particles besides, and how components go with it.
    kl
        (d,) mean information of each number, in nats; None where the run holds no variances.
    """

    objects: Objects
    latents: Numbers
    components: Components
    scores: Numbers
    clusters: Clusters
    density: Numbers
    covariates: Columns
    dependences: list[Dependence]
    kl: Numbers | None


@dataclass(frozen=True)
class VolumeComponents:
    """Principal components of the volumes at the clusters' centres, and every particle among them.

    Attributes
    ----------
    shares
        (K,) of the variance between the volumes, each counted by its particles.
    scores
        (N, K) of the particles, by a map from the latents.
    agrees
        Rank correlation of the first with the first of the latents, without its sign.
    """

    shares: Numbers
    scores: Numbers
    agrees: float


def latent_findings(run: LatentRun, options: AnalyzeOptions, latents: Latents) -> Generator[None, None, LatentFindings]:
    """Components, clusters, density, and what goes with defocus, view and shift."""
    objects = run.objects_in(latents)
    points = latents[objects.firsts].astype(np.float64)
    components = principal_components(points)
    scores = components.scores(points)
    different, _ = yield from beside(partial(distinct, points))
    count = min(options.clusters, len(different))
    clusters = yield from beside(partial(k_means, points, count, options.seed))
    density = yield from beside(partial(log_density, points))
    covariates = covariates_of(run.particles, objects.firsts)
    looked_at = {f"PC{number + 1}": scores[:, number] for number in range(min(_LOOKED_AT, scores.shape[1]))}
    is_last = options.epoch is None
    return LatentFindings(
        objects=objects,
        latents=points,
        components=components,
        scores=scores,
        clusters=clusters,
        density=density,
        covariates=covariates,
        dependences=dependences(looked_at, covariates),
        kl=kl_by_dimension(latents, run.log_variances, objects, _prior_of(run)) if is_last else None,
    )


def kl_by_dimension(
    latents: Latents, log_variances: Latents | None, objects: Objects, prior: Numbers
) -> Numbers | None:
    """Information of each number of the latents in nats, (d,), the mean of particles; None without variances.

    Mean of ((mu^2 + s^2) / p - 1 - ln(s^2 / p)) / 2 with p the prior variances (d,).

    References
    ----------
    Kingma & Welling 2014, arXiv 1312.6114, appendix B.
    """
    if log_variances is None or log_variances.shape != latents.shape:
        return None
    mu, logarithm = (values[objects.firsts].astype(np.float64) for values in (latents, log_variances))
    result: Numbers = 0.5 * ((mu**2 + np.exp(logarithm)) / prior - 1 - logarithm + np.log(prior)).mean(axis=0)
    return result


def _prior_of(run: LatentRun) -> Numbers:
    """Variances (d,) that latents have before an image is seen: of a linear model each mode has its own."""
    if isinstance(run.model, LinearModel):
        found: Numbers = run.model.prior_variance.double().cpu().numpy()
        return found
    return np.ones(run.model.zdim)


def epoch_agreements(run: LatentRun) -> Generator[tuple[int, int, LatentAgreement] | None, None, None]:
    """Two epochs and how alike their latents are, for neighbours among those kept; at most a dozen, evenly chosen.

    None for a step in between.
    """
    kept = sorted(run.epochs)
    every = sorted({kept[round(place)] for place in np.linspace(0, len(kept) - 1, min(len(kept), _MOST_EPOCHS))})
    for first, second in pairwise(every):
        before, after = (run.latents_of_epoch(epoch) for epoch in (first, second))
        # Rows count as one particle where they have one latent in both.
        firsts = max((run.objects_in(latents).firsts for latents in (before, after)), key=len)
        one, two = (latents[firsts].astype(np.float64) for latents in (before, after))
        if len(one) == len(two) and len(one) >= _FEWEST_PARTICLES:
            found = yield from beside(partial(agreement, one, two))
            yield first, second, found


def volume_components(
    found: LatentFindings, looks: Sequence[tuple[Series, SeriesLook]]
) -> Generator[None, None, VolumeComponents | None]:
    """Components of the volumes at the centres, the first series, and a map onto them learned from every volume.

    None where the volumes do not differ, or are too few for a map.
    """
    of_centres = torch.stack(looks[0][1].coarse)
    latents = np.concatenate([series.z for series, _ in looks])
    if len(of_centres) < _FEWEST_PARTICLES or len(latents) < 2 * (latents.shape[1] + 1):
        return None
    volumes = MaskedVolumes(torch.ones(of_centres.shape[1:], dtype=torch.bool))
    volumes.add(of_centres)
    weights = found.clusters.counts.astype(np.float64)
    space = yield from beside(partial(volume_space, volumes, weights, _VOLUME_COMPONENTS))
    if not space.shares.any():
        return None
    scores = np.concatenate([space.scores(torch.stack(look.coarse)) for _, look in looks])
    told: ScoreMap = yield from beside(partial(mapped, latents, scores, found.latents))
    agrees = abs(rank_correlation(told.scores[:, 0], found.scores[:, 0]))
    return VolumeComponents(space.shares, told.scores, agrees)
