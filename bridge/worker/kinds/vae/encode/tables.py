"""Tables of `vae.encode`."""

from __future__ import annotations

import csv
import io

from cryobridge.wrappers.particles.particle_set import ParticleSet

from .comparison import LatentComparison
from .explained import ExplainedImages


def image_table(particles: ParticleSet, found: ExplainedImages, compared: LatentComparison) -> str:
    """A row for each image: where it lies, how well the model explains it, whether its latent is known, the latent."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    axes = [f"z{axis}" for axis in range(1, found.latents.shape[1] + 1)]
    table.writerow(["image", "stack", "number", "misfit", "correlation", "distance", "off_the_data", *axes])
    near = compared.near
    for row, latent in enumerate(found.latents.tolist()):
        told = ("", "") if near is None else (f"{near.distance[row]:.6g}", "yes" if near.off_data[row] else "no")
        table.writerow(
            [
                row,
                particles.stacks[particles.stack[row]],
                particles.number[row],
                f"{found.misfit[row]:.6g}",
                f"{found.correlation[row]:.6g}",
                *told,
                *(f"{value:.8g}" for value in latent),
            ]
        )
    return text.getvalue()
