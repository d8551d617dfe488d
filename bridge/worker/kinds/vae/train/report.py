"""The page about a training: how it went, what varies, and what may not be concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.schemas.kinds.vae.train import VaeTrainJob
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.covariates import covariates_of, dependences
from ....heterogeneity.covariates import warnings_of as dependence_warnings
from ....heterogeneity.drawn import DrawnFigures
from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.objects import Objects
from ....heterogeneity.trained import TrainedModel
from ....heterogeneity.words import CAVEATS
from ....report import figures, methods
from ....report.levels import contour_level
from ....report.methods import Passage
from ....report.page import Judged, Report
from ....report.quantities import angstrom
from .along import PERCENTILES, Along
from .linear_check import told_by_scores
from .network import COLLAPSED_NATS
from .start import Reality, Start

_SHOWN_COMPONENTS = 3
_OF_NOISE = 1.0
"""Nats that a number of a latent gains of an image that has nothing but noise; 0.8 on a homogeneous set."""
_ALIKE = 0.98
Colour = Literal["good", "careful", "bad"]


@dataclass(frozen=True)
class TrainingFindings:
    """A finished training, and what a reader wants to know of it.

    Attributes
    ----------
    start
        What the fast method began with, or what the published one was held against; None without latents or controls.
    seconds
        Of the job's steps.
    """

    job: VaeTrainJob
    particles: ParticleSet
    images: ImageSource
    trained: TrainedModel
    along: Along
    start: Start | None
    seconds: Mapping[str, float]

    @property
    def objects(self) -> Objects:
        """The particles among the images: those that show one object with one latent are one."""
        return Objects.of(self.trained.latents, self.particles)

    @property
    def method(self) -> Literal["fast", "published"]:
        """By which it was trained."""
        return "published" if self.job.options.is_published else "fast"

    @property
    def reality(self) -> Reality | None:
        """What controls say; None where there were none."""
        return None if self.start is None else self.start.reality

    @property
    def latents_told(self) -> float | None:
        """Share of the variance of the latents that scores of the linear model tell; None without."""
        return None if self.start is None else told_by_scores(self.trained.latents, self.start)

    @property
    def linear_likeness(self) -> float | None:
        """Correlation of what the network and the linear model say varies along the first component; None without."""
        if self.start is None or len(self.along.volumes) < 2:
            return None
        ours = self.along.volumes[-1] - self.along.volumes[0]
        places = self.start.scores[[self.along.members[0], self.along.members[-1]]]
        theirs = self.start.linear.volumes(places).cpu()
        pair = torch.stack([ours.flatten(), (theirs[1] - theirs[0]).flatten()]).double()
        found = float(torch.corrcoef(pair)[0, 1])
        return found if np.isfinite(found) else None


def page_of(found: TrainingFindings) -> tuple[Report, list[str]]:
    """The page, and remarks on figures that could not be drawn."""
    trained, drawn = found.trained, DrawnFigures()
    _draw_volumes(found, drawn)
    _draw_latents(found, drawn)
    _draw_course(found, drawn)
    firsts = found.objects.firsts
    named = {f"component {n + 1}": found.along.components[firsts, n] for n in range(_count(found))}
    warnings = [*trained.warnings, *dependence_warnings(dependences(named, covariates_of(found.particles, firsts)))]
    paragraphs, references = methods.write([Passage(text, tuple(trained.references)) for text in trained.methods])
    report = Report(
        title="What varies between particles",
        summary=_summary(found),
        facts=_facts(found),
        figures=drawn.figures,
        statements=[*CAVEATS, *found.particles.remarks],
        methods=paragraphs,
        verdict=_verdict(found, warnings),
        warnings=list(dict.fromkeys(warnings)),
        references=references,
    )
    return report, drawn.remarks


def _count(found: TrainingFindings) -> int:
    return min(_SHOWN_COMPONENTS, len(found.along.shares))


def _summary(found: TrainingFindings) -> str:
    model, counted = found.trained.model, found.objects.counted
    if not model.zdim:
        return f"One volume of {model.box} voxels of {angstrom(model.voxel_size_A)} was learned from {counted}."
    shares = ", ".join(f"{100 * share:.0f} %" for share in found.along.shares[:_SHOWN_COMPONENTS])
    return f"{counted} have latents of {model.zdim} numbers; their first components hold {shares} of the variance."


def _verdict(found: TrainingFindings, warnings: Sequence[str]) -> Judged | None:
    kl = found.trained.kl
    if kl is None or not len(kl):
        return None
    nats = float(np.sum(kl))
    reasons = [f"The latents hold {nats:.2f} nats of information a particle."]
    if found.trained.curve and found.trained.curve[-1].held_out is not None:
        reasons.append(_of_kept_out(found, found.trained.curve[-1].held_out))
    if found.linear_likeness is not None:
        reasons.append(
            f"What varies most correlates to {found.linear_likeness:.2f} with what the linear model alone shows: "
            + _beside_linear(found)
        )
    if found.reality is not None:
        colour = _worse(found.reality.colour, warnings)
        return Judged(found.reality.words, [*found.reality.reasons, *reasons], colour)
    reasons.append("Whether it is of the molecule was not tested; vae.linear does.")
    if float(np.max(kl)) < COLLAPSED_NATS:
        return Judged("Nothing was found that varies", reasons, "bad")
    return Judged(
        "Look before you believe" if warnings else "Particles vary", reasons, "careful" if warnings else "good"
    )


def _beside_linear(found: TrainingFindings) -> str:
    """What it means that network and linear model show the same, or do not."""
    if found.method == "published":
        return f"its scores tell {100 * (found.latents_told or 0):.0f} % of the variance of the latents."
    if found.linear_likeness is not None and found.linear_likeness >= _ALIKE:
        return "the network adds little to it."
    looked = found.trained.curve[-1].held_out if found.trained.curve else None
    if looked is not None and looked < 0:
        return (
            "they differ, and particles that were kept out bear the network out; compare its volumes with vae.linear's."
        )
    return "they differ, and nothing says that the network is right; compare its volumes with those of vae.linear."


def _of_kept_out(found: TrainingFindings, looked: float) -> str:
    if found.method == "published":
        return f"The loss of particles that nothing was learned from is {looked:.4f}."
    each = "each" if found.objects.are_rows else "an image"
    by_noise = -_OF_NOISE * found.trained.model.zdim < looked < 0
    return (
        f"Particles that nothing was learned from are described {'better' if looked < 0 else 'worse'} by their latents "
        f"than by one volume, by {abs(looked):.1f} nats {each}"
        + (", which is what latents that are found from noise gain as well." if by_noise else ".")
    )


def _worse(colour: Colour, warnings: Sequence[str]) -> Colour:
    """Nothing that has warnings is good."""
    return "careful" if colour == "good" and warnings else colour


def _facts(found: TrainingFindings) -> dict[str, str]:
    trained = found.trained
    model = trained.model
    facts = {
        "particles": f"{found.job.inputs.particles} ({found.objects.number})",
        "method": found.method,
        "box": f"{model.box} voxels of {angstrom(model.voxel_size_A)}",
        "numbers of a latent": str(model.zdim),
        "epochs": str(len(trained.curve)),
        "seeds": ", ".join(str(seed) for seed in trained.seeds.values()),
        "time": f"{found.seconds.get('read', 0):.0f} s to read, {found.seconds.get('train', 0):.0f} s to train",
    }
    if found.method == "fast":
        reach_A = model.box * model.voxel_size_A / float(trained.used["radius"])
        facts["learned to"] = f"{angstrom(reach_A)}; beyond it every volume is the consensus"
    return facts | {
        f"latents told by seed {number}": f"{100 * share:.0f} %"
        for number, share in enumerate(trained.agreement, found.job.options.seed + 1)
    }


def _draw_volumes(found: TrainingFindings, drawn: DrawnFigures) -> None:
    volumes, voxel_A = found.along.volumes, found.trained.model.voxel_size_A
    if not volumes:
        return
    titles = [f"{place:g} %" for place in PERCENTILES]
    level = contour_level(volumes[len(volumes) // 2])

    def strip() -> bytes:
        sections = [figures.section_picture(volume, "z") for volume in volumes]
        mean = np.mean(sections, axis=0)
        rows: dict[str, Sequence[NDArray[np.float64]]] = {
            "along z": [figures.surface_picture(volume, level, "z") for volume in volumes],
            "along x": [figures.surface_picture(volume, level, "x") for volume in volumes],
            "section": sections,
            "less mean": [section - mean for section in sections],
        }
        return figures.picture_strip(rows, titles, voxel_A, signed=["less mean"])

    drawn.add(
        "Volumes along the first component",
        strip,
        "Volumes at particles along the first component of the latents (percentiles above), at one contour level; the "
        "last row is what differs from their mean.",
        is_tile=True,
    )


def _draw_latents(found: TrainingFindings, drawn: DrawnFigures) -> None:
    firsts, shares = found.objects.firsts, found.along.shares
    parts = found.along.components[firsts]
    if not parts.shape[1]:
        return
    names = [f"component {number + 1} ({100 * share:.0f} %)" for number, share in enumerate(shares)]
    if parts.shape[1] == 1:
        drawn.add(
            "Latents", lambda: figures.latent_histogram(parts[:, 0], names[0]), "How many particles have which latent."
        )
        return
    first, pair = parts[:, :2], (names[0], names[1])
    drawn.add(
        "Latents",
        lambda: figures.latent_map(first, pair),
        "How many particles lie where in the first two components. A cloud without parts may be a continuous motion, "
        "or noise.",
    )
    known = covariates_of(found.particles, firsts)
    if known:
        drawn.add(
            "Latents against what is not of the molecule",
            lambda: figures.latents_by_value(first, known, pair),
            "The mean of each by place. A trend says that latents follow the imaging, not the molecule.",
        )


def _draw_course(found: TrainingFindings, drawn: DrawnFigures) -> None:
    curve, kl = found.trained.curve, found.trained.kl
    if len(curve) > 1:
        epochs = [float(one.epoch) for one in curve]
        panels = {name: {name: np.array([one.terms[name] for one in curve])} for name in curve[0].terms}
        held_out = np.array([np.nan if one.held_out is None else one.held_out for one in curve])
        if np.isfinite(held_out).any():
            panels["kept out"] = {"kept out": held_out}
        drawn.add(
            "Learning curve",
            lambda: figures.over_epochs(epochs, panels),
            "Terms of the loss by epoch, and the score of particles that nothing was learned from; all should fall and "
            "level off.",
            table="training.csv",
        )
    if kl is not None and len(kl):
        drawn.add(
            "Information by number of the latent",
            lambda: figures.bars(kl.astype(np.float64), "number of the latent", "information (nats)"),
            "Numbers that hold next to nothing are not used.",
        )
