"""The published loss: how far images are off, and how far their latents are from a normal distribution.

Every term is divided so that it is one of a Fourier pixel; sources: Zhong et al. 2021, Nature Methods 18, 176; Burgess
et al. 2018, arXiv 1804.03599 (a target for the divergence).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

_SCHEDULES = {
    "a": (0.001, 15.0, 0, 1_000_000),
    "b": (5.0, 15.0, 200_000, 800_000),
    "c": (5.0, 18.0, 200_000, 800_000),
    "d": (5.0, 18.0, 1_000_000, 5_000_000),
}
"""First value, last value, and the images after which the linear rise between them begins and ends."""


def beta_schedule(beta: float | str) -> Callable[[int], float]:
    """The weight, or the target, of the divergence by the number of images seen.

    Parameters
    ----------
    beta
        A constant, or one of the schedules a, b, c, d.
    """
    if not isinstance(beta, str):
        constant = float(beta)
        return lambda images: constant
    first, last, begin, end = _SCHEDULES[beta]

    def rising(images: int) -> float:
        part = min(max((images - begin) / (end - begin), 0.0), 1.0)
        return first + (last - first) * part

    return rising


def divergence_by_number(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normal distributions (B, zdim) from the standard one, in nats: (B, zdim)."""
    return -0.5 * (1 + log_variance - mean * mean - log_variance.exp())


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Summed over the numbers of a latent: (B,)."""
    return divergence_by_number(mean, log_variance).sum(dim=1)


@dataclass(frozen=True)
class PublishedLoss:
    """Terms of the loss.

    Attributes
    ----------
    beta
        Constant or schedule.
    control
        Weight of the squared distance of the divergence from its target `beta`; None: the divergence itself counts,
        times `beta`.
    """

    beta: float | str
    control: float | None = None

    def data(self, predicted: Tensor, seen: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean squared difference of the Hartley values of spectra (..., M, 2), as a scalar.

        Parameters
        ----------
        weights
            (..., M) that the squares are multiplied with; 1 if None.

        Notes
        -----
        At a pixel and its mate the squares of differences of Hartley values add up to twice the square of the complex
        difference, so the mean over all pixels is that of the complex squares over half of them.
        """
        squares = ((predicted - seen) ** 2).sum(dim=-1)
        return (squares if weights is None else squares * weights).mean()

    def regular(self, mean: Tensor, log_variance: Tensor, beta: Tensor, pixels: int) -> Tensor:
        """The divergence's term, a scalar.

        Parameters
        ----------
        beta
            (B,) of the step.
        pixels
            Fourier pixels of a whole disc.
        """
        found = divergence(mean, log_variance)
        if self.control is None:
            return (beta * found).mean() / pixels
        return self.control * (beta.mean() - found.mean()) ** 2 / pixels
