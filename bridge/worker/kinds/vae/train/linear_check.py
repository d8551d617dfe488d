"""A linear model beside a published training: whether there is anything to find, and whether its latents found it.

An encoder that is trained from nothing is told no poses, and may begin with a latent whose sign differs from view to
view; it then stays there for many epochs. The loss does not tell, but scores of a linear model, which knows poses, do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import torch

from cryobridge.core.latent import shared_variance
from cryobridge.core.subspace import default_radius
from cryobridge.core.training import ALONE
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.kinds.vae.train import TrainOptions
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.run_folder import Latents
from ....heterogeneity.trained import TrainedModel
from ....heterogeneity.words import PPCA, VARIABILITY
from ....jobs.context import Context
from ....loop import Progress
from ....memory import give_back, is_out_of_memory
from ....report.quantities import angstrom
from .start import FEWEST_TESTED, Bands, Start, Starting

_MISSED = 0.3
"""Share of the latents' variance that linear scores tell. In the benchmark .40 to .89 where volumes at the latents were
right (differences correlate to .63 and more with the truth), .08 to .27 where they were not (below .5)."""
_NAME = "linear"


def checked(
    trained: TrainedModel, options: TrainOptions, context: Context, particles: ParticleSet, images: ImageSource
) -> Generator[Progress | None, None, tuple[TrainedModel, Start | None]]:
    """The training with what a linear model says of it; as it was where there are no latents or too few images.

    Nothing of it may cost the training: what goes wrong is a remark. Progress goes from 0 to 1.
    """
    if not (options.controls and options.latent_dimensions and len(images) >= FEWEST_TESTED):
        return trained, None
    together = options.encoder in ("tilt", "series") and particles.tilts is not None
    checkpoints = context.checkpoints({"linear": options.latent_dimensions, "box": images.box})
    starting = Starting(
        images,
        _bands(options, images),
        options.seed,
        _NAME,
        context.device,
        checkpoints,
        context.parking,
        ALONE,
        tested=True,
        object_of=torch.from_numpy(particles.tilts.particle) if together and particles.tilts is not None else None,
    )
    try:
        with context.parking.holding(trained.model.held):
            start = yield from starting.result()
    except (CryobridgeError, MemoryError, RuntimeError, ValueError) as error:
        why = "memory ran out" if is_out_of_memory(error) else f"{error}"
        context.folder.remark([f"The training is whole, but no linear model could be held against it: {why}"])
        checkpoints.remove(_NAME)
        give_back(context.device)
        return trained, None
    return _with(trained, start, lambda: checkpoints.remove(_NAME)), start


def told_by_scores(latents: Latents, start: Start) -> float:
    """Share of the variance of latents (N, zdim) that the linear model's scores tell, 0 to 1.

    Of tilt pairs there are latents of the first images only, and these come first.
    """
    return shared_variance(torch.from_numpy(latents), start.scores[: len(latents)].cpu())


def missed_warnings(told: float, start: Start) -> list[str]:
    """What to say where linear scores tell little of the latents, and there is something to find."""
    real = 0 if start.reality is None else int(start.reality.metrics["modes_above_noise"])
    if told >= _MISSED or not real:
        return []
    return [
        f"A linear model, which has modes above noise, tells {100 * told:.0f} % of the variance of these latents: they "
        "hold noise for the most part, or have a sign that differs from view to view, as a bad start has, and volumes "
        "at them may be wrong. Train from another seed ('seeds' compares several) or for more epochs, or use 'method: "
        "fast'."
    ]


def _bands(options: TrainOptions, images: ImageSource) -> Bands:
    radius = min(default_radius(images.box), float(images.disc.radii[-1]))
    return Bands(options.latent_dimensions, radius, radius)


def _with(trained: TrainedModel, start: Start, forget: Callable[[], None]) -> TrainedModel:
    """The same, with the warnings, the method and the checkpoint of the linear model."""

    def clear() -> None:
        trained.clear()
        forget()

    doubts = () if start.reality is None else start.reality.doubts
    return replace(
        trained,
        warnings=[*doubts, *missed_warnings(told_by_scores(trained.latents, start), start), *trained.warnings],
        methods=[*trained.methods, _method(start)],
        references=[*trained.references, PPCA, VARIABILITY],
        clear=clear,
    )


def _method(start: Start) -> str:
    to_A = start.images.box * start.images.pixel_size_A / start.linear.radius
    return (
        f"Beside it {start.linear.zdim} linear modes to {angstrom(to_A)} were fitted to what a consensus leaves of the "
        f"images, by expectation and maximisation ({PPCA.short}; {VARIABILITY.short}), and held against those of "
        "residuals permuted over poses, those of two halves of the particles, and the changes that small errors of "
        "poses make; the network learned nothing of them."
    )
