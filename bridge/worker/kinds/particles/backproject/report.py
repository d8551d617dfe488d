"""The page about a backprojection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cryobridge.core.directional import HALF_ANGLE_DEG, sampling_compensation, view_density
from cryobridge.core.fourier import fibonacci_directions, resolution
from cryobridge.schemas.kinds.particles.backproject import BackprojectOptions, ParticlesBackprojectJob
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.streaming import StreamedImages
from ....report import figures, methods, readings
from ....report.page import Figure, Report, as_html
from ....report.quantities import angstrom
from ...map.diagnose.measure import Views, direction_table, view_table
from ...map.diagnose.words import read_cfar
from .found import Backprojected, HalfSource
from .verdict import judged

__all__ = ["BackprojectionOutcome", "direction_table", "page", "view_table", "views_seen"]

_DIRECTIONS = 300
_HALVES = {
    "table": "Half-maps are of the half-sets of the table: the FSC is true as far as these were refined independently.",
    "alternate": "Half-maps are of every other particle, whose poses were found together: the FSC shows whether poses "
    "and CTF fit, and as a resolution it is too good.",
}


@dataclass(frozen=True)
class BackprojectionOutcome:
    """All that the page and the result are made of."""

    particles: ParticleSet
    images: StreamedImages
    found: Backprojected
    halves: HalfSource
    views: Views

    def statements(self) -> list[str]:
        """What a reader must know whatever the result."""
        verdict = judged(self.images, self.found)
        return [_HALVES[self.halves], f"{verdict.words}. {' '.join(verdict.reasons)}"]

    def metrics(self) -> dict[str, object]:
        """The numbers of the result."""
        found, probe = self.found, self.images.probe
        reached_A = found.resolution_A
        spread = None if found.directions is None else found.directions.spread
        return {
            "images": len(self.images),
            "box": found.box,
            "voxel_size_A": round(found.voxel_size_A, 5),
            "resolution_A": round(reached_A, 4) if math.isfinite(reached_A) else None,
            "worst_direction_A": None if spread is None else round(spread.worst_A, 4),
            "contrast": self.images.contrast,
            "poses_fit": self.images.poses_fit,
            "fsc_of_probe": None if probe is None else round(max(probe.agreement, probe.flipped), 4),
            "fsc_of_shuffled_poses": None if probe is None else round(probe.shuffled, 4),
        }


def views_seen(particles: ParticleSet, device: torch.device) -> Views:
    """The views of particles: the third row of each rotation."""
    if particles.rotations is None:
        raise ValueError("particles without poses have no views")
    views = torch.from_numpy(np.ascontiguousarray(particles.rotations[:, 2, ::-1])).to(device)
    vectors = fibonacci_directions(_DIRECTIONS, device)
    return Views(len(views), sampling_compensation(views), vectors, view_density(views.float(), vectors))


def page(job: ParticlesBackprojectJob, outcome: BackprojectionOutcome, remarks: Sequence[str]) -> str:
    """The page as HTML."""
    found, images = outcome.found, outcome.images
    fsc = _of_fsc(found, poses_fit=images.poses_fit)
    shown = [*_of_halves(found, fsc), *_of_directions(found), _of_views(outcome.views)]
    paragraphs, references = methods.write(_passages(job.options, outcome))
    report = Report(
        title="Backprojection",
        summary=f"{len(images)} images in a box of {found.box} voxels of {angstrom(found.voxel_size_A)}; half-maps "
        f"agree to {angstrom(found.resolution_A)} (FSC 0.143).",
        facts=_facts(job, outcome),
        figures=shown,
        statements=list(dict.fromkeys([_HALVES[outcome.halves], *remarks])),
        methods=paragraphs,
        verdict=judged(images, found),
        warnings=list(dict.fromkeys([*images.doubts, *readings.alarms(figure.reading for figure in shown)])),
        references=references,
    )
    return as_html(report)


def _of_fsc(found: Backprojected, *, poses_fit: bool | None) -> readings.Reading:
    if poses_fit is False:
        return readings.Reading("Agreement in the lowest shells is that of any two averages: no resolution is quoted.")
    if found.mask is None or found.agreed.mask_hurts:
        return readings.fsc(found.resolution_A, found.voxel_size_A, float(found.agreed.used[-1]))
    masked_A = resolution(found.agreed.curves.masked, found.voxel_size_A, box=found.box)
    return readings.mask_effect(masked_A, found.resolution_A)


def _of_halves(found: Backprojected, fsc: readings.Reading) -> list[Figure]:
    curves = {name: curve.cpu() for name, curve in found.curves.items()}
    maps = {"all images": found.volume.cpu(), "half-map 1": found.half1.cpu(), "half-map 2": found.half2.cpu()}
    return [
        Figure(
            "The map and the half-maps",
            figures.orthoslices(maps, found.voxel_size_A),
            "Density is bright. A particle with flat solvent around it means that poses fit; a smooth ball, or noise "
            "all over, that they do not.",
            is_tile=True,
        ),
        Figure(
            "Fourier shell correlation", figures.fsc_curves(curves, found.voxel_size_A, found.box), fsc, table="fsc.csv"
        ),
    ]


def _of_directions(found: Backprojected) -> list[Figure]:
    if found.directions is None:
        return []
    spread, directions = found.directions.spread, found.directions
    words = readings.directions(spread.best_A, spread.worst_A, spread.deviation_A)
    cfar = read_cfar(directions.cfar)
    return [
        Figure(
            "Resolution by direction",
            figures.resolution_sphere(directions.vectors.cpu(), directions.resolutions_A.cpu()),
            readings.Reading(f"{words} {cfar}", warns=words.warns or cfar.warns),
            table="directional.csv",
        )
    ]


def _of_views(views: Views) -> Figure:
    density = views.density.cpu()
    compensation = views.compensation
    sampled = readings.sampling(
        compensation.scf_star, compensation.unsampled, enough=compensation.enough, one_view=compensation.one_view
    )
    words = readings.view_density(density.tolist())
    return Figure(
        "Views of the particles",
        figures.view_density(views.vectors.cpu(), density),
        readings.Reading(f"{words} {sampled}", warns=sampled.warns),
        table="views.csv",
    )


def _facts(job: ParticlesBackprojectJob, outcome: BackprojectionOutcome) -> dict[str, str]:
    found, images, options = outcome.found, outcome.images, job.options
    facts = {
        "particles": str(job.inputs.particles),
        "number of images": str(len(images)),
        "box": f"{found.box} voxels of {angstrom(found.voxel_size_A)}, images of {outcome.particles.box} pixels",
        "resolution": angstrom(found.resolution_A) if math.isfinite(found.resolution_A) else "none",
        "contrast of the images": f"particles {images.contrast}",
        "CTF": {"multiply": "multiplied, squares divided out", "flip": "phases flipped"}[options.ctf_use],
        "half-sets": {"table": "those of the table", "alternate": "every other particle"}[outcome.halves],
        "regularisation": f"{found.regularisation:g} mean counts"
        + (", found from the half-maps" if options.regularisation is None else ""),
    }
    if outcome.particles.tilts is not None:
        facts["tilt series"] = f"{len(np.unique(outcome.particles.tilts.particle))} particles" + (
            ", weighted by dose and angle" if options.tilt_weights else ""
        )
    return facts


def _passages(options: BackprojectOptions, outcome: BackprojectionOutcome) -> list[methods.Passage]:
    found = outcome.found
    ctf = {
        "multiply": ("multiplied with their CTF", "those of its squares"),
        "flip": ("flipped in their phases", "their counts"),
    }[options.ctf_use]
    passages = [
        methods.Passage(
            f"{len(outcome.images)} images were recentred, {ctf[0]} and put back into Fourier space by trilinear "
            f"interpolation; the sums were divided by {ctf[1]}, to which {found.regularisation:g} of their mean was "
            "added."
        ),
        methods.fsc(
            masked=found.mask is not None and not found.agreed.mask_hurts, randomised_from_A=found.randomised_from_A
        ),
        methods.sampling(outcome.views.count, "C1"),
    ]
    return [*passages, *([methods.resolution_by_direction(HALF_ANGLE_DEG)] if found.directions is not None else [])]
