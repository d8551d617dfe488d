"""The page of `vae.linear`: what was found, whether it is real, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.latent import LinearModel
from cryobridge.core.subspace import NULL_FACTOR, low_passed
from cryobridge.schemas.kinds.vae.linear import VaeLinearJob
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.fitted_images import tried_more
from ....heterogeneity.objects import Objects
from ....heterogeneity.reality import may_not_be_concluded, verdict_of, warnings_of
from ....heterogeneity.run_folder import Latents
from ....heterogeneity.words import PPCA, VARIABILITY
from ....report import figures, methods
from ....report.citations import by_doi
from ....report.levels import contour_level
from ....report.methods import Passage
from ....report.page import Figure, Report, as_html
from ....report.quantities import angstrom
from .fitted import Fitted

COVARIANCE = by_doi(
    "Gilles and Singer 2025",
    "Gilles, Singer. Cryo-EM heterogeneity analysis using regularized covariance estimation and kernel regression. "
    "Proc. Natl. Acad. Sci. USA 122 (2025).",
    "10.1073/pnas.2419140122",
)
_STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
_SHOWN_MODES = 4


@dataclass(frozen=True)
class LinearOutcome:
    """A finished `vae.linear`.

    Attributes
    ----------
    latents
        (N, K) of all particles.
    explained
        Shares (K,) of the latents by what explains them.
    """

    particles: ParticleSet
    voxel_size_A: float
    model: LinearModel
    fitted: Fitted
    latents: Latents
    explained: Mapping[str, Tensor]

    @property
    def objects(self) -> Objects:
        """The particles among the images: those that show one object have one latent."""
        return Objects.of(self.latents, self.particles)

    def metrics(self) -> dict[str, float | int | bool]:
        """Numbers for the result."""
        found = self.fitted
        return {
            **self.objects.metrics,
            "fitted_on": len(found.members),
            "modes": found.modes,
            **found.controls.metrics(),
            "local_agreement": round(found.local_agreement, 4),
            "largest_association": round(max((float(one.max()) for one in self.explained.values()), default=0.0), 4),
        }

    def statements(self) -> list[str]:
        """Verdict, its reasons, warnings and limits: what a reader of the result must know without the page."""
        controls = self.fitted.controls
        verdict = verdict_of(controls, self.explained)
        first = f"Is it real? {verdict.words.capitalize()}."
        return [first, *verdict.reasons, *warnings_of(controls, self.explained), *self.limits()]

    def limits(self) -> list[str]:
        """What was compared beside the controls, and what may not be concluded."""
        found, lines = self.fitted, []
        if found.controls.kept:
            lines.append(
                f"Volumes made of nothing but the images at both ends of the first latent differ as the mode says: "
                f"correlation {found.local_agreement:.2f}. The latents that chose them come from the same images, "
                "so this shows how the mode looks without a model, not that it is real."
            )
        if found.modes > len(found.controls.halves):
            lines.append(tried_more(len(found.controls.halves), found.modes))
        elif found.controls.kept == found.subspace.modes:
            lines.append("All modes that were tried are above noise, so there may be more: ask for more with 'modes'.")
        lines += may_not_be_concluded(self.model.radius, self.model.box, self.voxel_size_A)
        if len(found.members) < len(self.particles):
            lines.append(
                f"Consensus, modes and controls are of {len(found.members)} {self.shown} drawn at random, latents of "
                f"all {len(self.particles)}."
            )
        return lines

    @property
    def shown(self) -> str:
        """What a row is."""
        return "particles" if self.objects.are_rows else "images"

    def junk_rows(self) -> NDArray[np.int64]:
        """Rows of the table whose images may show no particle, as a selection has them."""
        found: NDArray[np.int64] = self.fitted.members.cpu().numpy()[self.fitted.controls.junk]
        return self.particles.rows[found]


def association_table(explained: Mapping[str, Tensor]) -> str:
    """A row for each quantity, the share of each latent's variance that it explains, as CSV."""
    count = max((len(shares) for shares in explained.values()), default=0)
    rows = [",".join(["quantity", *(f"z{number}" for number in range(1, count + 1))])]
    rows += [",".join([name, *(f"{share:.4f}" for share in shares.tolist())]) for name, shares in explained.items()]
    return "\n".join(rows) + "\n"


def page(job: VaeLinearJob, outcome: LinearOutcome, remarks: list[str]) -> str:
    """The report as HTML."""
    found, model, controls = outcome.fitted, outcome.model, outcome.fitted.controls
    reach_A = model.box * outcome.voxel_size_A / model.radius
    verdict = verdict_of(controls, outcome.explained)
    modes = "mode" if found.modes == 1 else "modes"
    paragraphs, references = methods.write([_passage(job, outcome, reach_A)])
    report = Report(
        title="Linear heterogeneity",
        summary=f"{outcome.objects.counted}, {found.modes} linear {modes} to {angstrom(reach_A)}: {verdict.words}.",
        facts={
            "particles": str(job.inputs.particles),
            "number of particles": outcome.objects.number,
            "fitted on": str(len(found.members)),
            "box": f"{model.box} voxels of {angstrom(outcome.voxel_size_A)}",
            "reach of the modes": angstrom(reach_A),
            "modes above noise": str(controls.kept),
            "modes kept": str(found.modes),
            "deviation of the latents": ", ".join(f"{value:.2f}" for value in outcome.latents.std(axis=0)),
            "images that may be junk": str(len(controls.junk)),
        },
        figures=_figures(outcome),
        statements=[*remarks, *outcome.limits()],
        methods=paragraphs,
        verdict=verdict,
        warnings=warnings_of(controls, outcome.explained),
        references=references,
    )
    return as_html(report)


def _figures(outcome: LinearOutcome) -> list[Figure]:
    controls, firsts = outcome.fitted.controls, outcome.objects.firsts
    latents = outcome.latents[firsts].astype(np.float64)
    noise, first = controls.noise, float(controls.noise.null[0])
    found = [
        Figure(
            "Modes against noise",
            figures.bars(
                (noise.eigenvalues / first).numpy(),
                "mode, from 0",
                "eigenvalue over the null's first",
                {"null": 1.0, "kept above": NULL_FACTOR},
            ),
            "Variance of the particles along each mode, over that of the first mode of the same residuals permuted "
            "over the poses. What lies at the null's level is noise.",
            "modes.csv",
        ),
        Figure("Volumes along the modes", _strip(outcome), _STRIP_READING, is_tile=True),
    ]
    if latents.shape[1] > 1:
        points, names = latents[:, :2], ("z1", "z2")
        found.append(
            Figure(
                "Latents", figures.latent_map(points, names), "How many particles lie where in the first two latents."
            )
        )
        found.append(
            Figure(
                "Latents by what should not matter",
                figures.latents_by_value(points, _values(outcome.particles.of(firsts)), names),
                "Mean of each quantity by place. A pattern here means that latents show the microscope or the view.",
                "associations.csv",
            )
        )
    else:
        drawn = figures.latent_histogram(latents[:, 0], "z1")
        found.append(Figure("Latents", drawn, "How many particles have which latent."))
    found.append(
        Figure(
            "Agreement of images with the consensus",
            figures.latent_histogram(controls.agreement.cpu().double().numpy(), "correlation"),
            "Normalised correlation of each image with the consensus at its pose. Two hills mean that some images show "
            "no particle.",
        )
    )
    return found


_STRIP_READING = (
    "Surfaces of the consensus plus so many deviations of each latent, at the reach of the modes, and below what a "
    "deviation of each latent adds (red) and takes away (blue) in the central section."
)


def _strip(outcome: LinearOutcome) -> bytes:
    model = outcome.model
    shown = min(model.zdim, _SHOWN_MODES)
    # Beyond the reach of the modes the consensus has detail that is noise to a surface.
    level = contour_level(low_passed(model.consensus, model.radius).cpu())
    rows: dict[str, list[NDArray[np.float64]]] = {}
    deviations = model.prior_variance.sqrt()
    components = model.components()
    for mode in range(shown):
        z = torch.zeros(len(_STEPS), model.zdim, device=model.consensus.device)
        z[:, mode] = torch.tensor(_STEPS, device=z.device) * deviations[mode]
        volumes = (low_passed(model.volumes(one[None])[0], model.radius).cpu() for one in z)
        rows[f"mode {mode + 1}"] = [figures.surface_picture(volume, level) for volume in volumes]
        section = figures.section_picture((components[mode] * deviations[mode]).cpu())
        rows[f"adds {mode + 1}"] = [section * step for step in _STEPS]
    return figures.picture_strip(
        rows,
        [f"{step:+g} deviations" if step else "consensus" for step in _STEPS],
        outcome.voxel_size_A,
        signed=[name for name in rows if name.startswith("adds")],
    )


def _values(particles: ParticleSet) -> dict[str, NDArray[np.float64]]:
    found = {}
    if particles.ctf is not None:
        found["defocus (µm)"] = particles.ctf.defocus_u_A * 1e-4
    if particles.rotations is not None:
        found["tilt (°)"] = np.rad2deg(np.arccos(np.clip(particles.rotations[:, 2, 2], -1, 1)))
    found["micrograph"] = particles.micrograph.astype(np.float64)
    return found


def _which_modes(job: VaeLinearJob) -> str:
    if job.options.modes is not None:
        return "The number of modes was given."
    return (
        f"Modes were kept whose eigenvalue exceeds {NULL_FACTOR:g} times the first of the same residuals permuted over "
        "the poses, or which both halves of the particles have."
    )


def _passage(job: VaeLinearJob, outcome: LinearOutcome, reach_A: float) -> Passage:
    found = outcome.fitted
    text = (
        f"Residuals of {len(found.members)} {outcome.shown} against their Wiener-filtered consensus were modelled up "
        f"to {angstrom(reach_A)} as a linear combination of {found.subspace.modes} volumes with Gaussian latents "
        f"({PPCA.short}; {VARIABILITY.short}; {COVARIANCE.short}), fitted by {job.options.iterations} iterations of "
        f"expectation and maximisation with the noise of each shell. {_which_modes(job)} Latents are posterior means."
    )
    return Passage(text, (PPCA, VARIABILITY, COVARIANCE))
