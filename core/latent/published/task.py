"""The published training as a task: images in batches, each once in a pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from ...subspace import Parts
from ...training import Batch, Network, Order, generator_at
from ..shown_images import ImagesToLearn, ShownImages
from .losses import PublishedLoss, beta_schedule
from .network import PublishedNetwork

_ORDER, _NOISE, _KEPT_OUT = 1, 2, 3
_WEIGHTS = "weights"


class PublishedTask:
    """Learn latents, and a volume for each of them, from images of known poses.

    Parameters
    ----------
    network
        On the device of the images.
    images
        Of the particles.
    objects
        (G, T) which T images show each object; None where every image shows its own.
    loss
        What is made small.
    batch
        Objects of a step.
    scale
        What spectra are multiplied with, so that values of the Hartley transform have about the variance 1.
    weights
        (K, M) of some images (K,), how much their pixels count in the loss; all count alike if None.
    pose_rest
        Passes before poses learn.
    held_out
        How many objects are kept out of the training; which ones follows from `seed`.

    Raises
    ------
    ValueError
        If nothing is left to learn from.
    """

    def __init__(
        self,
        network: PublishedNetwork,
        images: ImagesToLearn,
        objects: Tensor | None,
        loss: PublishedLoss,
        *,
        batch: int,
        scale: float = 1.0,
        weights: Callable[[Tensor], Tensor] | None = None,
        pose_rest: int = 0,
        held_out: int = 0,
        seed: int = 0,
    ) -> None:
        self._in_runs = objects is None and held_out == 0
        self._objects = torch.arange(len(images))[:, None] if objects is None else objects
        order = torch.randperm(len(self._objects), generator=generator_at(seed, _KEPT_OUT))
        self._kept_out, self._used = order[:held_out].sort().values, order[held_out:].sort().values
        if not len(self._used):
            raise ValueError("there are no particles left to learn from; keep fewer out of the training")
        self._order = Order()
        self._network = network
        self._images = images
        self._loss = loss
        self._beta = beta_schedule(loss.beta)
        self._size = batch
        self._scale = scale
        self._weights = weights
        self._pose_rest = pose_rest

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"network": self._network}

    @property
    def fixed_shapes(self) -> bool:
        """Not where rows of a table learn: how many do is known on the host only."""
        return self._network.poses is None and self._network.latents is None

    @property
    def steps_of_pass(self) -> int:
        """Steps in which every object comes once, but for those that fill no batch."""
        return max(1, len(self._used) // self._size)

    def batch(self, seed: int, step: int) -> Batch:
        """The next objects of an order that is drawn anew for each pass."""
        now, place = divmod(step, self.steps_of_pass)
        if self._in_runs:
            shown = self._images.batch(seed, step, self._size)
            objects = shown.members
        else:
            order = self._order.at(len(self._used), seed, _ORDER, now)
            objects = self._used[order[place * self._size : (place + 1) * self._size]]
            shown = self._shown(objects)
        noise = torch.randn(len(objects), self._network.shape.zdim, generator=generator_at(seed, _NOISE, step))
        return self._samples(objects, shown, noise, self._beta(step * self._size), learns=now >= self._pose_rest)

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """How far images (B, ...) are off, and the divergence of the latents where there are some that have one."""
        predicted, seen, mean, log_variance = self._predicted(network, batch)
        terms = {"data": self._loss.data(predicted, seen, batch.get(_WEIGHTS))}
        if self._network.encoder is not None:
            pixels = 2 * len(self._images.disc)
            terms["kl"] = self._loss.regular(mean, log_variance, batch["beta"], pixels)
        return terms

    def held_out(self) -> Batch | None:
        """The objects (B,) that were kept out, each at the mean of its latent."""
        if not len(self._kept_out):
            return None
        noise = torch.zeros(len(self._kept_out), self._network.shape.zdim)
        return self._samples(self._kept_out, self._shown(self._kept_out), noise, 0.0, learns=False)

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """How far their images (B, ...) are off."""
        predicted, seen, _, _ = self._predicted(network, batch)
        return self._loss.data(predicted, seen, batch.get(_WEIGHTS))

    def tensors(self) -> Iterable[Tensor]:
        """The images, (...,)."""
        return self._images.held()

    def latents(self, size: int) -> Parts[tuple[Tensor, Tensor]]:
        """Mean and logarithm of the variance (G, zdim) of the latents of all objects, on the CPU.

        It yields after every `size` objects. Until it has ended the network is in evaluation mode.
        """
        found = []
        was = self._network.training
        self._network.eval()
        try:
            for objects in torch.split(torch.arange(len(self._objects)), size):
                # Not around the yield: whoever is let in there may need gradients.
                with torch.no_grad():
                    mean, log_variance = self._latents_of(objects)
                found.append((mean.float().cpu(), log_variance.float().cpu()))
                yield
        finally:
            self._network.train(was)
        means, log_variances = zip(*found, strict=True)
        return torch.cat(means), torch.cat(log_variances)

    def _latents_of(self, objects: Tensor) -> tuple[Tensor, Tensor]:
        if self._network.latents is not None:
            rows = self._network.latents.values[objects.to(self._network.points.device)]
            return rows, torch.zeros_like(rows)
        if self._network.encoder is None:
            nothing = torch.zeros(len(objects), self._network.shape.zdim)
            return nothing, nothing
        batch = self._samples(objects, self._shown(objects), torch.zeros(len(objects), 0), 0.0, learns=False)
        return self._network.latents_of(batch["spectra"], batch["ctf"], batch["members"])

    def _shown(self, objects: Tensor) -> ShownImages:
        return self._images.of(self._objects[objects].flatten().to(self._network.points.device))

    def _samples(self, objects: Tensor, shown: ShownImages, noise: Tensor, beta: float, *, learns: bool) -> Batch:
        device, shape = shown.spectra.device, (len(objects), self._objects.shape[1])
        counted = {} if self._weights is None else {_WEIGHTS: self._weights(shown.members).view(*shape, -1)}
        return counted | {
            "spectra": (torch.view_as_real(shown.spectra) * self._scale).view(*shape, -1, 2),
            "ctf": shown.ctf.view(*shape, -1),
            "rotations": shown.rotations.view(*shape, 3, 3),
            "members": shown.members.to(device).view(shape),
            "objects": objects.to(device),
            "noise": noise.to(device),
            "learns": torch.full((len(objects),), learns, device=device),
            "beta": torch.full((len(objects),), beta, device=device),
        }

    def _predicted(self, network: Network, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        names = ("spectra", "ctf", "rotations", "members", "objects", "noise", "learns")
        found: tuple[Tensor, Tensor, Tensor, Tensor] = network(*(batch[name] for name in names))
        return found
