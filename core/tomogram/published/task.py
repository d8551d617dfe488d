"""IsoNet's training as a task of `core.training`: pairs with noise, the mean absolute error, pairs kept out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...training import Batch, Learned, Network, Order, generator_at
from .network import IsoNetUNet
from .noise import noise_volumes
from .pairs import PairPlace, WedgedSubtomograms

NETWORK = "network"
_ORDER, _NOISE, _DROPOUT, _KEPT_OUT = 1, 2, 3, 4


@dataclass(frozen=True)
class NoiseOfIteration:
    """What is added to what the network is shown.

    level
        Deviation of the noise as a part of the data's.
    weight
        (cube, 1, cube // 2 + 1), of `noise_weight`.
    """

    level: float
    weight: Tensor


class IsoNetTask:
    """What the network learns in one iteration.

    Parameters
    ----------
    learned
        The network, under the name `NETWORK`.
    material
        Subtomograms that were filled by the network before.
    noise
        Of this iteration; None for no noise.
    batch
        Samples of a step.
    kept_out
        How many pairs are in no batch.
    seed
        Of which pairs these are.

    Raises
    ------
    ValueError
        If no pair would be left to learn from.
    """

    def __init__(
        self,
        learned: Learned,
        material: WedgedSubtomograms,
        noise: NoiseOfIteration | None,
        *,
        batch: int,
        kept_out: int,
        seed: int,
    ) -> None:
        self._learned = learned
        self._material = material
        self._noise = noise
        self._batch = batch
        places = material.places()
        if kept_out >= len(places):
            raise ValueError(f"{kept_out} of {len(places)} pairs kept out leave nothing to learn from")
        order = torch.randperm(len(places), generator=generator_at(seed, _KEPT_OUT)).tolist()
        self._kept_out = [places[index] for index in sorted(order[:kept_out])]
        self._shown = [places[index] for index in sorted(order[kept_out:])]
        self._seed = seed
        self._order = Order()

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network by its name."""
        return {name: learner.network for name, learner in self._learned.named.items()}

    @property
    def fixed_shapes(self) -> bool:
        """Drop-out takes its seed from the host."""
        return False

    def batch(self, seed: int, step: int) -> Batch:
        """Pairs of a step, (b, 1, cube, cube, cube) each, and seeds of its drop-out (b,)."""
        count = len(self._shown)
        places = []
        for index in range(step * self._batch, (step + 1) * self._batch):
            turn, within = divmod(index, count)
            places.append(self._shown[int(self._order.at(count, seed, _ORDER, turn)[within])])
        draws = torch.randint(2**62, (self._batch,), generator=generator_at(seed, _DROPOUT, step))
        return {**self._samples(places, generator_at(seed, _NOISE, step)), "dropout": draws}

    def held_out(self) -> Batch | None:
        """The pairs kept out, with the same noise every time."""
        if not self._kept_out:
            return None
        return self._samples(self._kept_out, generator_at(self._seed, _NOISE))

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """The mean absolute error on pairs (b, 1, cube, cube, cube), a scalar."""
        module = self._learned.named[name].network
        if isinstance(module, IsoNetUNet):
            module.draw_from(int(batch["dropout"][0]))
        return {"error": self._error(network, batch)}

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """The same error on pairs (b, 1, cube, cube, cube), without drop-out."""
        return self._error(network, batch)

    def tensors(self) -> Iterator[Tensor]:
        """Subtomograms (n, c, c, c) and weights on the device."""
        yield from self._material.held()
        if self._noise is not None:
            yield self._noise.weight

    def _error(self, network: Network, batch: Batch) -> Tensor:
        shown = batch["shown"].contiguous(memory_format=torch.channels_last_3d)
        error: Tensor = (network(shown) - batch["target"]).abs().mean()
        return error

    def _samples(self, places: Sequence[PairPlace], generator: torch.Generator) -> dict[str, Tensor]:
        shown, targets = self._material.pairs(places)
        if self._noise is not None and self._noise.level > 0:
            noise = noise_volumes(len(places), self._material.cube, self._noise.weight, generator)
            amount = self._noise.level * self._material.deviations(places)
            shown = shown + amount.view(-1, 1, 1, 1) * noise
        return {"shown": shown[:, None], "target": targets[:, None]}
