"""Images that show no particle, by how well they agree with the consensus at their pose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .consensus import Consensus
from .images import SeenImages
from .parts import Parts, whole

CLEAR_SPLIT = 0.75
"""Share of the variance between two groups above which there are two; a normal distribution cut in halves has 0.64."""


@dataclass(frozen=True)
class Split:
    """Numbers cut in two where the groups' means differ most, in the sense of Otsu 1979, IEEE Trans SMC 9, 62.

    threshold
        The lower group is below it.
    share
        Of the variance that lies between the groups, 0 to 1.
    """

    threshold: float
    share: float

    @property
    def is_clear(self) -> bool:
        """Whether there are two groups at all."""
        return self.share > CLEAR_SPLIT


def agreement(consensus: Consensus, images: SeenImages, radius: float) -> Tensor:
    """Normalised correlation (N,) of images with the consensus at their pose, CTF included, up to a radius."""
    return whole(agreement_in_parts(consensus, images, radius))


def agreement_in_parts(consensus: Consensus, images: SeenImages, radius: float) -> Parts[Tensor]:
    """The `agreement` (N,), image by image."""
    seen = images.within(radius)
    views = yield from consensus.views_in_parts(seen)
    scale = consensus.noise[seen.disc.shells].rsqrt()
    views, spectra = views * scale, seen.spectra * scale
    product = (views.conj() * spectra).real.sum(dim=1)
    found: Tensor = product / (views.norm(dim=1) * spectra.norm(dim=1)).clamp_min(1e-30)
    return found


def split_of(values: Tensor) -> Split:
    """Where to cut numbers (N,), N > 1, in two."""
    ordered = values.double().sort().values
    count = len(ordered)
    sums = ordered.cumsum(0)
    below = torch.arange(1, count, device=values.device, dtype=torch.float64)
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / (count - below)
    between = below * (count - below) / count**2 * (means[1] - means[0]).square()
    best = int(between.argmax())
    variance = float(ordered.var(correction=0))
    share = float(between[best]) / variance if variance > 0 else 0.0
    return Split(float(0.5 * (ordered[best] + ordered[best + 1])), share)
