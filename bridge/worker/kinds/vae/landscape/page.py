"""The page of `vae.landscape`."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from cryobridge.core.landscape import principal_components
from cryobridge.schemas.kinds.vae.landscape import VaeLandscapeJob

from ....heterogeneity import words
from ....heterogeneity.drawn import DrawnFigures
from ....heterogeneity.finishing import Finishing
from ....heterogeneity.run_folder import LatentRun
from ....heterogeneity.series import SeriesLook
from ....report import figures, methods
from ....report.page import Report
from ....report.quantities import angstrom, percent
from .findings import LandscapeFindings

_POOR = 0.5
"""Share of the first component's variance, held out, below which the particles' places are doubted."""

_FEW = 0.01
"""Share of the particles below which a state is doubted."""


def page_of(
    job: VaeLandscapeJob, run: LatentRun, found: LandscapeFindings, finishing: Finishing, look: SeriesLook
) -> tuple[Report, list[str]]:
    """The page, and remarks on figures that could not be drawn; `look` is at the states' means."""
    drawn = DrawnFigures()
    particles = found.particles
    _maps(found, drawn)
    drawn.add(
        "Means of the states",
        lambda: look.strip([f"{state}: {count}" for state, count in enumerate(particles.tolist())], finishing),
        "Weighted by particles; above each its number and particles. Surfaces enclose equal volumes; below, what the "
        "central section across y has more (red) or less (blue) than the mean of the states.",
        table="states.csv",
        is_tile=True,
    )
    drawn.add(
        "Particles per state",
        lambda: figures.bars(particles.astype(np.float64), "state", "particles"),
        "States are numbered by their particles.",
        table="states.csv",
    )
    drawn.add(
        "Variance between volumes by component",
        lambda: figures.variance_explained({"volumes": found.space.shares}),
        "Inside the mask, each volume counted by its particles.",
        table="components.csv",
    )
    paragraphs, references = methods.write([_passage(job, found)])
    page = Report(
        title="States among the volumes",
        summary=f"{found.count} states of {len(found.states)} volumes; the largest holds "
        f"{percent(float(particles[0] / particles.sum()))} of {found.objects.counted}.",
        facts={
            "run": str(run.path),
            "mask": "given" if job.inputs.mask else "where a volume reaches half its peak",
            "voxels compared": str(int(found.space.mask.sum())),
            "volumes": f"box {finishing.box}, {angstrom(finishing.voxel_size_A)} a voxel",
            "particles placed by": f"a {found.every.fit} map of the latents",
        },
        figures=drawn.figures,
        statements=[
            "A particle has the state of its cluster's volume; within a state, the spread maps show what it hides.",
            *drawn.remarks,
            *words.CAVEATS,
        ],
        methods=paragraphs,
        references=references,
        warnings=_doubts(found),
    )
    return page, drawn.remarks


def _maps(found: LandscapeFindings, drawn: DrawnFigures) -> None:
    """Particles and states, among volumes and among latents."""
    states = found.particle_states.astype(np.float64)
    if found.scores.shape[1] > 1:
        names = ("volume PC1", "volume PC2")
        drawn.add(
            "Particles among the volumes",
            lambda: figures.latent_map(found.every.scores[:, :2], names),
            "Where particles lie along the two largest changes of the volumes.",
            table="components.csv",
        )
        drawn.add(
            "States among the volumes",
            lambda: figures.latents_by_cluster(found.scores[:, :2], found.states.astype(np.float64), names),
            "Each point a volume, coloured by its state.",
            table="volumes.csv",
        )
    if found.latents.shape[1] > 1:
        plane = principal_components(found.latents).scores(found.latents)[:, :2]
        drawn.add(
            "States among the latents",
            lambda: figures.latents_by_cluster(plane, states, ("PC1", "PC2")),
            "Each point a particle, coloured by its state.",
            table="states.csv",
        )


def _doubts(found: LandscapeFindings) -> list[str]:
    said = []
    told = float(found.every.held_out_r2[0])
    if np.isfinite(told) and told < _POOR:
        said.append(
            f"Latents tell only {percent(max(told, 0.0))} of the first component of volumes kept out of the fit: do "
            "not trust single particles' places among the volumes."
        )
    shares = found.particles / found.particles.sum()
    small = np.flatnonzero(shares < _FEW).tolist()
    if small:
        said.append(
            f"States {', '.join(map(str, small))} hold less than {percent(_FEW)} of the particles each: these are "
            "often outliers. The linkage 'ward' makes states of more even size."
        )
    return said


def _passage(job: VaeLandscapeJob, found: LandscapeFindings) -> methods.Passage:
    options = job.options
    return methods.Passage(
        f"Volumes at the centres of {len(found.states)} clusters of latents were compared inside a mask by principal "
        f"components, {found.scores.shape[1]} of them, and joined by {options.linkage} linkage into {found.count} "
        f"states ({words.MAKING.short}); maps of a state are the mean and standard deviation of its volumes, weighted "
        "by particles.",
        (words.MAKING,),
    )


def spread_in(mask: Tensor, spread: Tensor) -> float:
    """Root mean square of a state's standard deviation (n, n, n) inside the mask (n, n, n)."""
    return float(spread[mask].double().square().mean().sqrt())
