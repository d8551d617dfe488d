"""Learning what particles have beyond their consensus, as a task of `core.training`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..particles import FourierGrid, slice_points
from ..training import Batch, Learned, Network, generator_at
from .film_model import FilmShape
from .linear import LinearModel
from .shown_images import ImagesToLearn, ShownImages

NETWORK = "network"
_DRAWS, _KEPT_OUT = 1, 2


class FilmTask:
    """Images in batches, each once in a pass over them; what is left of a pass when no batch is full waits.

    Parameters
    ----------
    learned
        Holds a `FilmNetwork` of this shape under the name `NETWORK`.
    images
        On the network's device, their disc at least as wide as the network's band.
    scores
        (N, modes) of the images, of the linear model.
    linear
        The model of these scores, on the scale of the spectra.
    noise
        (S + 1,) variance by shell of the real and imaginary parts of spectra, at least to the network's band.
    batch, beta
        Images of a step, and the weight of the information in their latents.
    held_out
        Images that nothing is learned from; which ones follows from `seed`.
    object_of
        (N,) which object each image shows; None where every image shows its own.
    """

    fixed_shapes = True

    def __init__(
        self,
        learned: Learned,
        shape: FilmShape,
        images: ImagesToLearn,
        scores: Tensor,
        linear: LinearModel,
        *,
        noise: Tensor,
        batch: int,
        beta: float,
        held_out: int,
        seed: int,
        object_of: Tensor | None = None,
    ) -> None:
        self._learned = learned
        self._images = images
        self._scores = scores
        self._linear = linear
        self._consensus = FourierGrid.of(linear.consensus)
        self._batch = batch
        self._beta = beta
        self._zdim = shape.zdim
        self._disc = images.disc.within(shape.radius)
        self._linear_pixels = len(self._disc.within(min(linear.radius, shape.radius)))
        self._sharpness = noise[self._disc.shells].rsqrt()
        self._kept_out = kept_out(len(images), held_out, seed, object_of)
        counts = torch.ones(len(images))
        counts[self._kept_out] = 0
        self._counts = counts.to(scores.device)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network."""
        return {name: learner.network for name, learner in self._learned.named.items()}

    def batch(self, seed: int, step: int) -> Batch:
        """The images of a step. Those kept out are in it and do not count, so that all steps are of one size."""
        shown = self._images.batch(seed, step, self._batch)
        draws = torch.randn(len(shown.members), self._zdim, generator=generator_at(seed, _DRAWS, step))
        return self._samples(shown, draws)

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """Misfit over the noise and information of latents (B, zdim), scalars, both in nats for each Fourier pixel."""
        misfit, information = self._of(network, batch)
        pixels = len(self._disc)
        counts = batch["counts"]
        return {"data": (counts * misfit).mean() / pixels, "kl": self._beta * (counts * information).mean() / pixels}

    def held_out(self) -> Batch | None:
        """The images kept out, decoded at their mean latents."""
        if not len(self._kept_out):
            return None
        shown = self._images.of(self._kept_out.to(self._scores.device))
        return self._samples(shown, torch.zeros(len(self._kept_out), self._zdim))

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """Mean over images (B,) of misfit and information less the consensus' misfit, in nats; below 0 is better."""
        misfit, information = self._of(network, batch)
        return (misfit + information - _in_nats(batch["residual"])).mean()

    @torch.no_grad()
    def not_finite(self, network: Network, seed: int, step: int) -> Tensor:
        """Which images of a step have a misfit that is not finite, (K,) on the CPU."""
        shown = self._images.batch(seed, step, self._batch)
        misfit, _ = self._of(network, self._samples(shown, torch.zeros(len(shown.members), self._zdim)))
        found: Tensor = shown.members[~torch.isfinite(misfit)].cpu()
        return found

    def tensors(self) -> Iterator[Tensor]:
        """What the batches are taken from: images (N, M) and what is known of them."""
        yield from self._images.held()
        yield from (self._scores, self._counts, self._consensus.values, self._sharpness)
        yield from (self._disc.points, self._disc.radii)

    def _samples(self, shown: ShownImages, draws: Tensor) -> dict[str, Tensor]:
        members, count = shown.members.to(self._scores.device), len(self._disc)
        points, ctf = slice_points(self._disc, shown.rotations), shown.ctf[:, :count]
        residual = (shown.spectra[:, :count] - ctf * self._consensus.sample(points)) * self._sharpness
        return {
            "scores": self._scores[members],
            "counts": self._counts[members],
            "draws": draws.to(self._scores.device),
            "points": points,
            "modes": self._linear.components_at(points[:, : self._linear_pixels]),
            "ctf": ctf * self._sharpness,
            "residual": torch.view_as_real(residual),
        }

    def _of(self, network: Network, batch: Batch) -> tuple[Tensor, Tensor]:
        """Misfit and information of each image, in nats, (B,)."""
        found, amounts, mean, log_variance = network(batch["scores"], batch["draws"], batch["points"])
        within = (batch["modes"] * amounts[:, None, None, :]).sum(dim=-1)
        found = found + nn.functional.pad(within, (0, 0, 0, found.shape[1] - within.shape[1]))
        misfit = _in_nats(batch["ctf"][..., None] * found - batch["residual"])
        return misfit, information_of(mean, log_variance).sum(dim=1)


def kept_out(count: int, held_out: int, seed: int, object_of: Tensor | None = None) -> Tensor:
    """Which of N = `count` images nothing is learned from, (K,) on the CPU: K is `held_out`, or nearly of objects.

    An object is kept out with all its images, or a network learns of it from the others: as many objects as have
    together at most so many images, but at least one, and never all.

    Parameters
    ----------
    object_of
        (N,) which object each image shows; None where every image shows its own.
    """
    if object_of is None:
        order = torch.randperm(count, generator=generator_at(seed, _KEPT_OUT))
        return order[:held_out].sort().values
    _, which, sizes = torch.unique(object_of.cpu(), return_inverse=True, return_counts=True)
    order = torch.randperm(len(sizes), generator=generator_at(seed, _KEPT_OUT))
    wanted = max(int((sizes[order].cumsum(0) <= held_out).sum()), 1 if held_out else 0)
    drawn = torch.zeros(len(sizes), dtype=torch.bool)
    drawn[order[: min(wanted, len(sizes) - 1)]] = True
    return torch.nonzero(drawn[which])[:, 0]


def _in_nats(missed: Tensor) -> Tensor:
    """Half of the squares, summed, of numbers of variance 1: (B,) of (B, M, 2)."""
    return 0.5 * missed.square().sum(dim=(1, 2))


def information_of(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of normal latents from the standard normal one, in nats, by their numbers: (N, zdim).

    Source: (mean^2 + variance - 1 - log variance) / 2; Kingma & Welling 2014, ICLR, arXiv 1312.6114.
    """
    return 0.5 * (mean.square() + torch.exp(log_variance) - 1 - log_variance)
