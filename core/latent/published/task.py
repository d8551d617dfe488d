"""The published training as a task: shuffled images, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ...particles import HalfDisc
from ...training import Batch, Network, generator_at
from .losses import PublishedLoss, beta_schedule
from .network import PublishedNetwork

NETWORK = "network"
_ORDER, _NOISE, _KEPT_OUT = 1, 2, 3


class TrainingImages(Protocol):
    """Images of particles as a training takes them."""

    @property
    def disc(self) -> HalfDisc:
        """Their Fourier pixels."""

    def __len__(self) -> int:
        """How many there are, N."""

    def seen(self, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spectra (K, M) complex64, CTF (K, M) and rotations (K, 3, 3) of members (K,), on the device."""

    def held(self) -> Iterable[Tensor]:
        """What lies on the device."""


@dataclass(frozen=True)
class Epochs:
    """How long a training goes on, and what changes on the way.

    Attributes
    ----------
    batch
        Objects in a step.
    pose_rest
        Epochs before poses learn.
    """

    batch: int
    pose_rest: int = 0


class PublishedTask:
    """Learn latents and a volume for each from images of known poses.

    Parameters
    ----------
    network
        On the device.
    images
        Of the particles.
    objects
        (G, T) which T images show each object; (N, 1) where every image shows its own.
    loss
        What is made small.
    epochs
        How long.
    held_out
        How many objects are kept out of the training.
    seed
        Of which these are.

    Raises
    ------
    ValueError
        If there are fewer objects than a batch has.
    """

    def __init__(
        self,
        network: PublishedNetwork,
        images: TrainingImages,
        objects: Tensor,
        loss: PublishedLoss,
        epochs: Epochs,
        *,
        held_out: int = 0,
        seed: int = 0,
    ) -> None:
        order = torch.randperm(len(objects), generator=generator_at(seed, _KEPT_OUT))
        self._kept_out, self._used = order[:held_out], order[held_out:].sort().values
        if len(self._used) < epochs.batch:
            raise ValueError(
                f"there are {len(self._used)} particles to learn from, fewer than a batch of {epochs.batch}; choose a "
                "smaller batch"
            )
        self._network = network
        self._images = images
        self._objects = objects
        self._loss = loss
        self._beta = beta_schedule(loss.beta)
        self._epochs = epochs
        self._orders: dict[tuple[int, int], Tensor] = {}

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {NETWORK: self._network}

    @property
    def fixed_shapes(self) -> bool:
        """Not where rows of a table learn: how many do is known on the host only."""
        return self._network.poses is None and self._network.latents is None

    @property
    def steps_of_epoch(self) -> float:
        """Steps in which every object is seen once; a step may hold the end of one epoch and the start of another."""
        return len(self._used) / self._epochs.batch

    def batch(self, seed: int, step: int) -> Batch:
        """The next objects of an order that is drawn anew for each epoch."""
        size, count = self._epochs.batch, len(self._used)
        first = step * size
        places = range(first, first + size)
        chosen = torch.stack([self._order(seed, place // count)[place % count] for place in places])
        learns = torch.tensor([place // count >= self._epochs.pose_rest for place in places])
        noise = torch.randn(size, self._network.shape.zdim, generator=generator_at(seed, _NOISE, step))
        return self._samples(self._used[chosen], noise, learns, self._beta(first))

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """How far images are off, and the divergence of the latents where there are some that have one."""
        predicted, seen, mean, log_variance = self._predicted(network, batch)
        terms = {"data": self._loss.data(predicted, seen)}
        if self._network.encoder is not None:
            pixels = 2 * len(self._images.disc)
            terms["divergence"] = self._loss.regular(mean, log_variance, batch["beta"], pixels)
        return terms

    def held_out(self) -> Batch | None:
        """The objects that were kept out, each at the mean of its latent."""
        if not len(self._kept_out):
            return None
        count = len(self._kept_out)
        learns = torch.zeros(count, dtype=torch.bool)
        return self._samples(self._kept_out, torch.zeros(count, self._network.shape.zdim), learns, 0.0)

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """How far their images are off."""
        predicted, seen, _, _ = self._predicted(network, batch)
        return self._loss.data(predicted, seen)

    def tensors(self) -> Iterable[Tensor]:
        """The images."""
        return self._images.held()

    def _order(self, seed: int, epoch: int) -> Tensor:
        if (seed, epoch) not in self._orders:
            # A step needs the orders of at most two epochs.
            self._orders = {key: value for key, value in self._orders.items() if key == (seed, epoch - 1)}
            self._orders[seed, epoch] = torch.randperm(len(self._used), generator=generator_at(seed, _ORDER, epoch))
        return self._orders[seed, epoch]

    def _samples(self, objects: Tensor, noise: Tensor, learns: Tensor, beta: float) -> Batch:
        members = self._objects[objects]
        spectra, ctf, rotations = self._images.seen(members.flatten())
        device, shape = spectra.device, members.shape
        return {
            "spectra": torch.view_as_real(spectra).unflatten(0, shape),
            "ctf": ctf.unflatten(0, shape),
            "rotations": rotations.float().unflatten(0, shape),
            "members": members.to(device),
            "objects": objects.to(device),
            "noise": noise.to(device),
            "learns": learns.to(device),
            "beta": torch.full((len(objects),), beta, device=device),
        }

    def _predicted(self, network: Network, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        names = ("spectra", "ctf", "rotations", "members", "objects", "noise", "learns")
        found: tuple[Tensor, Tensor, Tensor, Tensor] = network(*(batch[name] for name in names))
        return found
