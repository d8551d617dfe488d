"""The report of `vae.encode`."""

from __future__ import annotations

import numpy as np
import torch

from cryobridge.core.latent import principal_components
from cryobridge.schemas.kinds.vae.encode import VaeEncodeJob
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.run_folder import LatentRun, Latents
from ....report import figures, methods
from ....report.page import Figure, Report
from ....report.quantities import in_digits, percent
from .comparison import FEW, LatentComparison
from .explained import MOST_PIXELS, ExplainedImages

STATEMENTS = (
    "The model was not changed: what it never learned it cannot find, and an image of something else gets the latent "
    "of what looks least unlike it.",
    "Latents of new images may be put beside the training's only as far as images, poses and CTF were made in the same "
    "way.",
)


def page_of(
    job: VaeEncodeJob, trained: LatentRun, particles: ParticleSet, found: ExplainedImages, compared: LatentComparison
) -> Report:
    """Build the page."""
    paragraphs, references = methods.write([passage(len(found.latents), trained.model.zdim)])
    facts = {
        "images": str(job.inputs.particles),
        "run": str(trained.path),
        "model": f"{trained.model.name}, {trained.model.zdim} latents",
        "number of images": str(len(found.latents)),
        "box and pixel size": f"{particles.box} pixels of {np.median(particles.pixel_size_A):.4g} Å",
        "misfit, in variances of the noise": _middle(found.misfit),
        "correlation with the model": _middle(found.correlation),
        "strength of the particles, of the training's": in_digits(compared.scale),
    }
    if job.options.epoch is not None:
        facts["epoch"] = str(job.options.epoch)
    if compared.near is not None:
        facts["latents off the training's data"] = percent(float(compared.near.off_data.mean()))
    return Report(
        title="Latents of new images",
        summary=_summary(found, compared),
        facts=facts,
        figures=_figures(found, trained.latents[trained.objects.firsts]),
        statements=STATEMENTS,
        methods=paragraphs,
        warnings=[*trained.remarks, *compared.doubts()],
        references=references,
    )


def passage(count: int, zdim: int) -> methods.Passage:
    """What was done, for the methods text."""
    return methods.Passage(
        f"Latents of {count} images, {zdim} numbers each, were found by the encoder of the trained model. The misfit "
        "of an image is the mean square of its spectrum less the model's slice times its CTF, in variances of the "
        f"noise, over up to {MOST_PIXELS} Fourier pixels of the model's band."
    )


def _summary(found: ExplainedImages, compared: LatentComparison) -> str:
    text = f"{len(found.latents)} images have latents."
    if compared.near is None:
        return f"{text} With fewer than {FEW} latents on either side they cannot be compared with the training's."
    known = 1 - float(compared.near.off_data.mean())
    return f"{text} {percent(known)} of them lie where the training had particles."


def _middle(values: np.ndarray) -> str:
    return in_digits(float(np.median(values)), 3)


def _figures(found: ExplainedImages, before: Latents) -> list[Figure]:
    shown = []
    if len(before) >= FEW:
        shown.append(_latents(found.latents, before))
    if bool(np.isfinite(found.misfit).any()):
        shown += [
            Figure(
                "How well the model explains the images",
                figures.value_histogram(found.misfit.astype(np.float64), "misfit, in variances of the noise"),
                "About 1 is what is expected of an image that is the model's and noise. A second hill, or a tail to "
                "the right, is junk, ice, or what the model does not know.",
                table="images.csv",
            ),
            Figure(
                "Likeness of the images and the model",
                figures.value_histogram(found.correlation.astype(np.float64), "correlation"),
                "Images without a particle lie about 0.",
                table="images.csv",
            ),
        ]
    return shown


def _latents(new: Latents, before: Latents) -> Figure:
    """Both sets of latents, on the training's first principal components."""
    directions = principal_components(torch.from_numpy(before))[:2].numpy()
    mean = before.mean(axis=0, dtype=np.float64)
    old, fresh = ((values - mean) @ directions.T for values in (before, new))
    if directions.shape[0] == 1:
        png = figures.densities_beside(old[:, 0], fresh[:, 0], "z1 less its mean")
    else:
        png = figures.latents_beside(old, fresh, ("PC 1 of the training", "PC 2 of the training"))
    reading = "New images should lie where the training had particles, and spread alike."
    return Figure("New latents beside the training's", png, reading, table="images.csv", is_tile=True)
