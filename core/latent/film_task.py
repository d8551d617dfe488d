"""Learning what particles have beyond their consensus, as a task of `core.training`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..particles import HalfDisc, slice_points
from ..training import Batch, Learned, Network, generator_at

NETWORK = "network"
_ORDER, _DRAWS, _KEPT_OUT = 1, 2, 3


@dataclass(frozen=True)
class Residuals:
    """What N images have beyond their consensus.

    disc
        Of M Fourier pixels.
    values
        (N, M) complex64, on the scale of the images' spectra.
    ctf
        (N, M).
    rotations
        (N, 3, 3), object to view, float32.
    scores
        (N, modes) of the linear model, over the deviation of the first.
    variance
        Of the noise, mean of its squared modulus at a Fourier pixel.
    """

    disc: HalfDisc
    values: Tensor
    ctf: Tensor
    rotations: Tensor
    scores: Tensor
    variance: float

    def __len__(self) -> int:
        """Number of images."""
        return self.values.shape[0]


class FilmTask:
    """Images in batches, each once in a pass over them; what is left of a pass when no batch is full waits.

    Parameters
    ----------
    learned
        Holds a `FilmNetwork` under the name `NETWORK`.
    residuals
        On the network's device.
    batch, beta
        Images of a step, and the weight of the information in their latents.
    held_out
        Images that are in no batch; which ones follows from `seed`.
    """

    fixed_shapes = True

    def __init__(
        self, learned: Learned, residuals: Residuals, *, batch: int, beta: float, held_out: int, seed: int
    ) -> None:
        if len(residuals) - held_out < batch:
            raise ValueError(f"{len(residuals)} images are fewer than a batch of {batch} and {held_out} kept out")
        self._learned = learned
        self._residuals = residuals
        self._batch = batch
        self._beta = beta
        order = torch.randperm(len(residuals), generator=generator_at(seed, _KEPT_OUT))
        self._kept_out, self._members = order[:held_out], order[held_out:].sort().values
        self._pass: tuple[tuple[int, int], Tensor] | None = None

    @property
    def steps_of_a_pass(self) -> int:
        """Full batches of a pass."""
        return len(self._members) // self._batch

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network."""
        return {name: learner.network for name, learner in self._learned.named.items()}

    def batch(self, seed: int, step: int) -> Batch:
        """The images of a step."""
        number, place = divmod(step, self.steps_of_a_pass)
        members = self._order(seed, number)[place * self._batch : (place + 1) * self._batch]
        zdim = self._network.shape.zdim
        draws = torch.randn(len(members), zdim, generator=generator_at(seed, _DRAWS, step))
        return self._samples(members, draws)

    def images_of(self, seed: int, step: int) -> Tensor:
        """Which images a step is of."""
        number, place = divmod(step, self.steps_of_a_pass)
        return self._order(seed, number)[place * self._batch : (place + 1) * self._batch]

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """Misfit over the noise, and information of the latents, both in nats for each Fourier pixel."""
        misfit, information = self._of(network, batch)
        pixels = len(self._residuals.disc)
        return {"data": misfit.mean() / pixels, "kl": self._beta * information.mean() / pixels}

    def held_out(self) -> Batch | None:
        """The images kept out, decoded at their mean latents."""
        if not len(self._kept_out):
            return None
        return self._samples(self._kept_out, torch.zeros(len(self._kept_out), self._network.shape.zdim))

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """Misfit and information less the misfit of the consensus alone, in nats an image; below 0 is better."""
        misfit, information = self._of(network, batch)
        alone = batch["residual"].square().sum(dim=(1, 2)) / self._residuals.variance
        return (misfit + information - alone).mean()

    def tensors(self) -> Iterator[Tensor]:
        """What the batches are taken from."""
        residuals = self._residuals
        yield from (residuals.values, residuals.ctf, residuals.rotations, residuals.scores)
        yield from (residuals.disc.points, residuals.disc.radii)

    @property
    def _network(self) -> nn.Module:
        return self._learned.named[NETWORK].network

    def _order(self, seed: int, number: int) -> Tensor:
        if self._pass is None or self._pass[0] != (seed, number):
            mixed = torch.randperm(len(self._members), generator=generator_at(seed, _ORDER, number))
            self._pass = ((seed, number), self._members[mixed])
        return self._pass[1]

    def _samples(self, members: Tensor, draws: Tensor) -> dict[str, Tensor]:
        residuals = self._residuals
        device = residuals.values.device
        chosen = members.to(device)
        return {
            "scores": residuals.scores[chosen],
            "draws": draws.to(device),
            "points": slice_points(residuals.disc, residuals.rotations[chosen]),
            "ctf": residuals.ctf[chosen],
            "residual": torch.view_as_real(residuals.values[chosen]),
        }

    def _of(self, network: Network, batch: Batch) -> tuple[Tensor, Tensor]:
        """Misfit and information of each image, in nats, (B,)."""
        found, mean, log_variance = network(batch["scores"], batch["draws"], batch["points"])
        missed = batch["ctf"][..., None] * found - batch["residual"]
        misfit = missed.square().sum(dim=(1, 2)) / self._residuals.variance
        return misfit, information_of(mean, log_variance).sum(dim=1)


def information_of(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of normal latents from the standard normal one, in nats, by their numbers: (N, zdim).

    Source: (mean^2 + variance - 1 - log variance) / 2; Kingma & Welling 2014, ICLR, arXiv 1312.6114.
    """
    return 0.5 * (mean.square() + torch.exp(log_variance) - 1 - log_variance)
