"""New latents held against those that the model was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.latent import Nearness, nearness

from ....heterogeneity.run_folder import Latents
from ....report.quantities import percent
from .explained import ExplainedImages

FEW = 10
"""Latents of so few particles say nothing of where particles are."""
_OFF_SHARE = 0.05
"""Share of latents off the data that is worth a word: of the training's own it is one in a hundred."""
_MOVED, _NARROWED, _WIDENED = 0.5, 0.6, 1.6
_WEAK, _STRONG = 0.7, 1.4
"""Scale of the particles from which on another contrast, dose or ice is to be thought of."""


@dataclass(frozen=True)
class LatentComparison:
    """How new latents lie beside those of the training.

    near
        How near to the training's each is; None where there are too few of either.
    moved
        (zdim,) difference of the means, in the training's deviations.
    widened
        (zdim,) deviations over the training's.
    scale
        How strong the particles are, in terms of the model's.
    """

    near: Nearness | None
    moved: NDArray[np.float64]
    widened: NDArray[np.float64]
    scale: float

    def doubts(self) -> list[str]:
        """What speaks against taking the new latents as the training's, a sentence each."""
        found = []
        if self.near is not None:
            off = float(self.near.off_data.mean())
            if off > _OFF_SHARE:
                found.append(
                    f"{percent(off)} of the images have latents where the training had no particles (1 % of its own "
                    "do): the model does not know them; train with them, or look at what they are."
                )
            found += [
                f"The mean of z{axis + 1} is {self.moved[axis]:+.1f} deviations of the training's away from the "
                "training's: other states, or other images."
                for axis in np.flatnonzero(np.abs(self.moved) > _MOVED)
            ]
            found += [
                f"z{axis + 1} spreads {self.widened[axis]:.1f} times as far as in the training."
                for axis in np.flatnonzero((self.widened < _NARROWED) | (self.widened > _WIDENED))
            ]
        if np.isfinite(self.scale) and not _WEAK <= self.scale <= _STRONG:
            found.append(
                f"Particles are {self.scale:.2f} times as strong as in the training: contrast, poses or noise are not "
                "those that the model knows, and latents may be off."
            )
        return found


def comparison_of(found: ExplainedImages, trained: Latents) -> LatentComparison:
    """Compare new latents with those of the training's particles (N, zdim)."""
    new = found.latents.astype(np.float64)
    if min(len(new), len(trained)) < FEW:
        nothing = np.full(new.shape[1], np.nan)
        return LatentComparison(None, nothing, nothing, found.scale)
    before = trained.astype(np.float64)
    deviation = np.maximum(before.std(axis=0), 1e-12)
    return LatentComparison(
        nearness(found.latents, trained),
        (new.mean(axis=0) - before.mean(axis=0)) / deviation,
        new.std(axis=0) / deviation,
        found.scale,
    )
