"""The latents of a run that a job looks at."""

from __future__ import annotations

from cryobridge.schemas.errors import InputInvalid

from .run_folder import LatentRun, Latents

_FEWEST_PARTICLES = 3


def chosen_latents(run: LatentRun, epoch: int | None) -> Latents:
    """Latents (N, d) of a run, after an epoch if one is asked for.

    Raises
    ------
    InputInvalid
        If the model has none, the epoch was not kept, or there are too few particles.
    """
    if run.model.zdim == 0:
        raise InputInvalid(
            f"{run.path}: its model has no latent, so there is nothing to look at; train one with latents"
        )
    latents = run.latents if epoch is None else run.latents_of_epoch(epoch)
    if latents.shape != run.latents.shape:
        raise InputInvalid(f"{run.path}: latents of epoch {epoch} are of other particles; run the training again")
    objects = run.objects_in(latents)
    if len(objects.firsts) < _FEWEST_PARTICLES:
        raise InputInvalid(f"{run.path}: has {objects.counted}, too few to look at; train on more")
    return latents
