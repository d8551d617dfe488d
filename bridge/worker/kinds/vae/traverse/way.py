"""The way through the latent space that a job of `vae.traverse` takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.landscape import (
    HIGH_PERCENTILE,
    LOW_PERCENTILE,
    direct_path,
    graph_path,
    log_density,
    nearest,
    principal_components,
    traversal,
)
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.traverse import TraverseOptions, VaeTraverseJob
from cryobridge.wrappers.formats.latent_file import read_latents

from ....heterogeneity.objects import Objects
from ....heterogeneity.run_folder import LatentRun

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

_END_SHARE = 0.02
"""Of the particles, those nearest to an end, among which the densest is taken."""


@dataclass(frozen=True)
class Way:
    """A way of P latents.

    Attributes
    ----------
    z
        (P, d).
    nearest
        (P,) the row of the particle nearest to each; on a graph, that which it is.
    shown
        (K,) which of them volumes are made of.
    anchors
        (A,) rows of the particles it was to go through; none along a component.
    words
        What it is, for people.
    """

    z: Numbers
    nearest: Places
    shown: Places
    anchors: Places
    words: str


def way_of(job: VaeTraverseJob, run: LatentRun, points: Numbers, objects: Objects) -> Way:
    """Find the way among particles, the objects of rows with latents (N, d).

    Raises
    ------
    InputInvalid
        If there is no such component or particle, or the graph falls apart between two anchors.
    """
    # Rows of one object are one particle: as several they would be each other's neighbours, and nobody else's.
    found = _among(job, run, points[objects.firsts], _anchors(job, run, objects))
    return replace(found, nearest=objects.firsts[found.nearest], anchors=objects.firsts[found.anchors])


def _among(job: VaeTraverseJob, run: LatentRun, points: Numbers, anchors: Places | None) -> Way:
    """The way, its particles counted as the latents (O, d) of objects are, and so the anchors (A,) that were named."""
    options = job.options
    if options.way == "component":
        return _along_component(run, options, points)
    if options.way == "direct":
        ends = _anchor_latents(job, points, anchors)
        path = direct_path(ends, options.between, loop=options.loop)
        words = f"straight through {len(ends)} anchors" + (", and back" if options.loop else "")
        everything = np.arange(len(path), dtype=np.int64)
        return Way(path, nearest(points, path), everything, nearest(points, ends), words)
    return _along_graph(job, points, anchors)


def _along_component(run: LatentRun, options: TraverseOptions, points: Numbers) -> Way:
    number, spacing = options.component, "of equal share" if options.percentile_spacing else "at equal steps"
    if number > points.shape[1]:
        raise InputInvalid(f"component {number}: latents of {run.path} have {points.shape[1]}; give one of those")
    found = principal_components(points)
    z = traversal(found, points, number - 1, options.count, even=not options.percentile_spacing)
    everything = np.arange(len(z), dtype=np.int64)
    words = f"along component {number}, from the 5th to the 95th percentile {spacing}"
    return Way(z, nearest(points, z), everything, np.empty(0, np.int64), words)


def _along_graph(job: VaeTraverseJob, points: Numbers, anchors: Places | None) -> Way:
    options = job.options
    if anchors is None:
        anchors = ends_of(points) if job.inputs.z_file is None else nearest(points, _anchor_latents(job, points, None))
    if len(np.unique(points[anchors], axis=0)) < 2:
        raise InputInvalid(
            "anchors: all are the same particle, or have its latent, so there is no way between them; give two others"
        )
    most, average = options.most_neighbours, options.average_neighbours
    try:
        path = graph_path(points, anchors.tolist(), most_neighbours=most, average_neighbours=average)
    except ValueError as error:
        wider = f"most_neighbours above {most}" if average is None else f"average_neighbours above {average:g}"
        raise InputInvalid(
            f"anchors: {error} from particle to particle; give {wider}, or take the way direct"
        ) from None
    steps = np.linspace(0, len(path.members) - 1, min(options.count, len(path.members)))
    words = (
        f"from particle to particle through {len(anchors)} anchors, {len(path.members)} particles, in a graph of "
        f"{path.average_neighbours:g} neighbours on average"
    )
    return Way(points[path.members], path.members, np.unique(np.rint(steps).astype(np.int64)), anchors, words)


def ends_of(points: Numbers) -> Places:
    """Two of particles (N, d) near both ends of the first component: where they lie densest there."""
    along, density = principal_components(points).scores(points)[:, 0], log_density(points)
    count = max(1, round(_END_SHARE * len(points)))
    found = []
    for percentile in (LOW_PERCENTILE, HIGH_PERCENTILE):
        near = np.argsort(np.abs(along - np.percentile(along, percentile)), kind="stable")[:count]
        found.append(int(near[density[near].argmax()]))
    return np.array(found, np.int64)


def _anchors(job: VaeTraverseJob, run: LatentRun, objects: Objects) -> Places | None:
    """The anchors (A,) that were named by their rows, as numbers of objects; None where none were."""
    if job.options.anchors is None:
        return None
    members = np.array(job.options.anchors, np.int64)
    count = len(objects.of_row)
    if members.max(initial=0) >= count:
        raise InputInvalid(f"anchors: {run.path} has no particle {members.max()}; its particles are 0 to {count - 1}")
    found: Places = objects.of_row[members]
    return found


def _anchor_latents(job: VaeTraverseJob, points: Numbers, anchors: Places | None) -> Numbers:
    """Latents (A, d) of the anchors."""
    if job.inputs.z_file is not None:
        found = read_latents(job.inputs.z_file, points.shape[1]).astype(np.float64)
        if len(found) < 2:
            raise InputInvalid(f"{job.inputs.z_file}: holds one latent; a way needs two or more")
        return found
    chosen: Numbers = points[np.empty(0, np.int64) if anchors is None else anchors]
    return chosen
