"""Steps of a training on images that may have to be read first, which takes longer than a call may wait."""

from __future__ import annotations

from collections.abc import Iterator

from cryobridge.core.training import StepReport, Trainer, TrainingRecord
from cryobridge.schemas.kinds.vae.train import LatentTraining

from ....heterogeneity.image_source import ImageSource


def loaded_steps(
    trainer: Trainer, record: TrainingRecord, options: LatentTraining, images: ImageSource | None
) -> Iterator[StepReport | None]:
    """Take the steps that are left; None after each part of the images of the next one that was read.

    Parameters
    ----------
    record
        The trainer's, which counts its steps.
    images
        That it takes batches of, by its seed and step; None where nothing need be read before a step.
    """
    steps = trainer.run()
    while True:
        if images is not None:
            yield from images.loading(options.seed, len(record.losses), options.batch)
        report = next(steps, None)
        if report is None:
            return
        yield report
