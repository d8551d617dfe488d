"""A task that has nothing to do with maps: an autoencoder of small images, for what holds of every training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cryobridge.core.training import Batch, Learned, Network, Trainer, TrainingRecord, generator_at
from cryobridge.schemas.training import TrainingOptions

SIDE = 8


class Autoencoder(nn.Module):
    """Images (b, 1, 8, 8) through a code of 4 numbers and back; gives (image, code)."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 16), nn.GELU(), nn.Linear(16, 4))
        self.decode = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, SIDE * SIDE))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encode(images)
        return self.decode(code).view_as(images), code


class ImageTask:
    """Blobs at random places, to be told by few numbers; the first `kept_out` images are in no batch."""

    def __init__(self, learned: Learned, options: TrainingOptions, kept_out: int = 0) -> None:
        self._learned, self._options, self._kept_out = learned, options, kept_out
        self.asked: list[int] = []

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {name: learner.network for name, learner in self._learned.named.items()}

    @property
    def fixed_shapes(self) -> bool:
        return True

    def batch(self, seed: int, step: int) -> Batch:
        self.asked.append(step)
        return {"images": images(self._options.batch, generator_at(seed, step)).to(self._learned.device)}

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        found, code = network(batch["images"])
        return {"image": (found - batch["images"]).square().mean(), "code": 1e-3 * code.square().mean()}

    def held_out(self) -> Batch | None:
        if not self._kept_out:
            return None
        return {"images": images(self._kept_out, generator_at(10**6)).to(self._learned.device)}

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        return (network(batch["images"])[0] - batch["images"]).square().mean()

    def tensors(self) -> Iterator[Tensor]:
        yield from ()


def images(count: int, generator: torch.Generator) -> Tensor:
    """So many images (count, 1, 8, 8) of a blob each."""
    centres = 2 + 4 * torch.rand(count, 2, generator=generator)
    axis = torch.arange(SIDE)
    y, x = ((axis - centre[:, None]).square() for centre in centres.unbind(1))
    return torch.exp(-(y[:, :, None] + x[:, None]) / 4)[:, None]


def image_options(**chosen: Any) -> TrainingOptions:
    """Options of a short training."""
    return TrainingOptions(**{"batch": 6, "learning_rate": 1e-2, **chosen})


def new_learned(options: TrainingOptions, names: tuple[str, ...] = ("images",), device: str = "cpu") -> Learned:
    """Untrained autoencoders by name."""
    torch.manual_seed(options.seed)
    where = torch.device(device)
    return Learned({name: Autoencoder().to(where) for name in names}, options, where)


def image_trainer(
    learned: Learned, options: TrainingOptions, steps: int, record: TrainingRecord | None = None, **named: Any
) -> Trainer:
    """A training on images."""
    task = ImageTask(learned, options, options.held_out)
    record = TrainingRecord() if record is None else record
    return Trainer(task, learned, options, steps=steps, seed=3, record=record, **named)
