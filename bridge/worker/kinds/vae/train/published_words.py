"""What the report says of the published method: how it was done, what it cites, what may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.latent import published
from cryobridge.schemas.kinds.vae.train import LatentTraining, TrainOptions

from ....heterogeneity.words import CRYODRGN
from ....report.citations import Citation
from ....report.quantities import counted

REFERENCES: Sequence[Citation] = (CRYODRGN,)
_COLLAPSED, _UNUSED = 0.1, 0.02


def method_of(
    shape: published.NetworkShape, training: LatentTraining, beta: float | str, epochs: int, options: TrainOptions
) -> str:
    """How it was trained, as a paragraph."""
    weight = f"schedule {beta}" if isinstance(beta, str) else f"{beta:g}"
    encoder = {
        "none": "There was no latent, so one volume was learned.",
        "table": "The latents were learned one by one, without an encoder.",
    }.get(
        shape.encoder,
        f"The encoder '{shape.encoder}' had {counted(shape.encoder_layers, 'hidden layer')} of "
        f"{shape.encoder_width}; the divergence of its latents from the normal distribution had the weight {weight}"
        + ("." if options.beta_control is None else f" as a target, held with {options.beta_control:g}."),
    )
    poses = (
        f" Poses and shifts were learned after {counted(options.pose_rest, 'epoch')}, as {options.pose_embedding}, "
        f"at a rate of {options.pose_rate:g}."
        if options.learn_poses
        else ""
    )
    layers, numbers = counted(shape.decoder_layers, "hidden layer"), counted(shape.zdim, "number")
    return (
        f"A network of {layers} of {shape.decoder_width} gave the spectrum of a volume of {shape.box} voxels at a "
        f"position ({shape.encoding} encoding, domain {shape.domain}) for a latent of {numbers} (Zhong et al. 2021). "
        f"{encoder} It was trained for {counted(epochs, 'epoch')} in batches of {training.batch} with Adam at a rate "
        f"of {training.learning_rate:g}, seed {training.seed}.{poses}"
    )


def warnings_of(kl: NDArray[np.float32] | None) -> list[str]:
    """What the information of the latents, in nats by number, says against a training."""
    if kl is None or not len(kl):
        return []
    if float(kl.sum()) < _COLLAPSED:
        return [
            f"The latents hold next to no information ({float(kl.sum()):.3f} nats): the encoder has collapsed and "
            "says the same of all particles. Try a lower beta, more epochs, or 'method: fast'."
        ]
    unused = int((kl < _UNUSED).sum())
    if unused:
        return [f"{unused} of {len(kl)} numbers of the latent are unused (less than {_UNUSED} nats)."]
    return []
