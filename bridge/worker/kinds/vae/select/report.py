"""The page of `vae.select`: who was selected, and whether the selection is one-sided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from cryobridge.core.directional import sampling_compensation, view_density
from cryobridge.core.fourier import fibonacci_directions
from cryobridge.schemas.kinds.vae.select import VaeSelectJob
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.choosing import Mask, drawn
from ....heterogeneity.objects import Objects
from ....heterogeneity.particle_values import Values
from ....report import figures, methods, readings
from ....report.page import Figure, Report
from ....report.quantities import in_digits, percent
from .counts import GroupCount

_DIRECTIONS = 2000
_MOST_VIEWS = 100_000
_MOST_BARS = 40
_UNLIKELY = 0.001
"""Ours: chance of a difference between groups, below which it is told as a warning."""
_LEAST_EXPECTED = 1.0
"""Particles of a group that are selected by chance, or left, on average: with fewer, chi-square finds too much."""
_LEAST_SAMPLES = 1.0
"""Views that measure a direction on average, from which on SCF* is told: of 20 views within 3 degrees it may be 1."""
_MUCH_WORSE = 0.05
"""Ours: by how much SCF* of the selected particles is below that of as many at random before it is a warning."""
_HALVES = "half-set"
_SETS = {"selected": "selected", "all": "all", "as_many": "as many at random"}


@dataclass(frozen=True)
class Chosen:
    """What was selected, for the page: `outline` has corners (C, 2) in the plane of the lasso's axes."""

    job: VaeSelectJob
    particles: ParticleSet
    objects: Objects
    values: Values
    selected: Mask
    counts: Sequence[GroupCount]
    outline: NDArray[np.float64] | None
    remarks: Sequence[str]


def report_of(chosen: Chosen, device: torch.device) -> tuple[Report, dict[str, float]]:
    """The page, and the numbers of it that go into the result."""
    those = chosen.objects.with_any(chosen.selected)
    count, number = len(those), int(those.sum())
    images = "" if chosen.objects.are_rows else f", with {int(chosen.selected.sum())} of {len(chosen.selected)} images"
    views, scores = _views(chosen, device)
    warnings = [*_groups(chosen.counts), *_views_warning(scores)]
    facts = {
        "rules": _rules(chosen.job),
        "particles": f"{number} selected, {count - number} others",
        **{
            f"SCF* of the views, {words}": in_digits(scores[name]) if name in scores else "too few views to tell"
            for name, words in _SETS.items()
            if views
        },
    }
    paragraphs, references = methods.write([methods.Passage(_method(chosen, number, count))])
    page = Report(
        title="Selection of particles",
        summary=f"{number} of {count} particles are selected ({percent(number / count)}){images}.",
        facts=facts,
        figures=[*_scatter(chosen), *_shares(chosen.counts, number / count), *views],
        statements=[
            *chosen.remarks,
            "Particles were chosen by what was found in their images: a map of them shows what they were chosen for, "
            "in part whether it is there or not. Judge it by half-maps that were refined anew.",
        ],
        warnings=warnings,
        methods=paragraphs,
        references=references,
    )
    return page, {f"scf_star_{name}": round(value, 4) for name, value in scores.items()}


def _scatter(chosen: Chosen) -> list[Figure]:
    first = tuple(chosen.job.options.lasso_axes.replace(",", " ").split())
    planes = [first, ("pc1", "pc2"), ("umap1", "umap2"), ("z1", "z2")]
    x, y = next(((a, b) for a, b in planes if a in chosen.values and b in chosen.values), ("", ""))
    if not x:
        return []
    points = np.stack([chosen.values[x], chosen.values[y]], axis=1)
    outline = chosen.outline if (x, y) == first else None
    return [
        Figure(
            "Where the selected particles lie",
            figures.selected_points(points, chosen.selected.astype(np.float64), (x, y), outline),
            f"Each point is a particle in the plane of {x} and {y}.",
            is_tile=True,
        )
    ]


def _shares(counts: Sequence[GroupCount], mean: float) -> list[Figure]:
    panels = [(group.what, group.names, group.shares) for group in counts if 1 < len(group.names) <= _MOST_BARS]
    if not panels:
        return []
    return [
        Figure(
            "Share of each group that is selected",
            figures.shares_of_groups(panels, mean),
            f"The line is the share of all particles, {percent(mean)}.",
            table="counts.csv",
        )
    ]


def _views(chosen: Chosen, device: torch.device) -> tuple[list[Figure], dict[str, float]]:
    """Figures of the views of the selected particles and of all, and SCF* of each and of as many drawn from all.

    SCF* falls with the number of views, so the selected ones are judged by as many others.
    """
    rotations = chosen.particles.rotations
    if rotations is None:
        return [], {}
    made, scores = [], {}
    directions = fibonacci_directions(_DIRECTIONS, device)
    every = np.ones(len(chosen.selected), np.bool_)
    for name, title, members in (
        ("selected", "Views of the selected particles", chosen.selected),
        ("all", "Views of all particles", every),
        ("as_many", "", drawn(every, int(chosen.selected.sum()), 0)),
    ):
        rows = np.flatnonzero(members)
        rows = rows[:: max(1, -(-len(rows) // _MOST_VIEWS))]
        # The third row of each rotation, from x, y, z to the z, y, x of directions.
        views = torch.from_numpy(np.ascontiguousarray(rotations[rows, 2, ::-1])).to(device)
        found = sampling_compensation(views)
        if found.mean_samples >= _LEAST_SAMPLES:
            scores[name] = found.scf_star
        if not title:
            continue
        density = view_density(views.float(), directions).cpu()
        made.append(
            Figure(title, figures.view_density(directions.cpu(), density), readings.view_density(density.tolist()))
        )
    return made, scores


def _views_warning(scores: Mapping[str, float]) -> list[str]:
    if {"as_many", "selected"} <= scores.keys() and scores["as_many"] - scores["selected"] > _MUCH_WORSE:
        return [
            "The selected particles see the object less evenly than as many drawn at random (SCF* "
            f"{in_digits(scores['selected'])} against {in_digits(scores['as_many'])}): what distinguishes them may be "
            "the view."
        ]
    return []


def _groups(counts: Sequence[GroupCount]) -> list[str]:
    """A warning for each sort of group whose shares differ by more than chance."""
    found = []
    for group in counts:
        others = group.all - group.selected
        if group.what == "cluster" or len(group.names) < 2 or not group.selected.sum() or not others.sum():
            continue
        expected = group.all * (group.selected.sum() / group.all.sum())
        if np.minimum(expected, group.all - expected).mean() < _LEAST_EXPECTED:
            continue
        chance = float(stats.chi2_contingency(np.stack([group.selected, others]))[1])
        if chance < _UNLIKELY:
            low, high = float(group.shares.min()), float(group.shares.max())
            what = (
                "the half-maps of a refinement will be of different sizes"
                if group.what == _HALVES
                else "what distinguishes them may be how they were recorded"
            )
            found.append(
                f"The selection does not take the same share of each {group.what} ({percent(low)} to {percent(high)}; "
                f"by chance that happens in fewer than {percent(_UNLIKELY)} of selections): {what}."
            )
    return found


def _rules(job: VaeSelectJob) -> str:
    options, inputs = job.options, job.inputs
    rules = [
        f"numbers in {inputs.indices}" if inputs.indices else "",
        f"{options.cluster_column} {options.clusters}" if options.clusters else "",
        options.where or "",
        f"inside {inputs.lasso} in {options.lasso_axes}" if inputs.lasso else "",
        f"the {options.nearest} nearest to {options.nearest_to}" if options.nearest else "",
        f"{options.random} at random (seed {options.seed})" if options.random else "",
    ]
    text = "; ".join(rule for rule in rules if rule)
    return f"not: {text}" if options.invert else text


def _method(chosen: Chosen, number: int, count: int) -> str:
    return f"Of {count} particles {number} were selected by these rules: {_rules(chosen.job)}."
