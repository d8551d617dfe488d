"""The correction of two half-maps as a task of `core.training`: batches of crops, losses, crops kept out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from cryobridge.schemas.correction import CorrectionOptions

from ..training import Batch, Learned, Network
from ..volume import spherical_window, take, turn_matrices
from .draws import Choice, Draws
from .losses import ImprovedTerms, improved_loss, practice_loss, published_loss
from .material import Material
from .practice import Practice


class CorrectionTask:
    """What the networks of a correction learn, each from its own material.

    Parameters
    ----------
    learned
        The networks by name.
    materials
        For each of them what its crops are taken from.
    options
        Of the training.
    seed
        Of the crops kept out, of those that are drawn only once, and of simulated ones.
    """

    def __init__(self, learned: Learned, materials: list[Material], options: CorrectionOptions, seed: int) -> None:
        self._learned = learned
        self._materials = dict(zip(learned.named, materials, strict=True))
        self._options = options
        self._draws = Draws(materials[0].mask, options, seed)
        self._turn_matrices = turn_matrices(learned.device) if learned.device.type != "cpu" else None
        self._window = spherical_window(options.cube_size, learned.device)
        self._practice: Practice | None = None
        if options.practice > 0:
            self._practice = Practice(seed, options.batch, options.cube_size)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The networks by name."""
        return {name: learner.network for name, learner in self._learned.named.items()}

    @property
    def fixed_shapes(self) -> bool:
        """Whether the losses run on the device alone: where rotations are tensors on it too."""
        return self._turn_matrices is not None

    def batch(self, seed: int, step: int) -> Batch:
        """Crops of a step for every network, (batch, 1, c, c, c) each, and how they are turned."""
        found = self._samples(self._draws.at(seed, step))
        if self._practice is not None:
            crops = self._practice.at(step)
            for key, value in (("seen", crops.seen), ("mask", crops.mask), ("truth", crops.truth)):
                found[f"practice.{key}"] = value.to(self._learned.device)
        return found

    def held_out(self) -> Batch | None:
        """The crops kept out, each with the same rotation every time."""
        return None if self._draws.held_out is None else self._samples(self._draws.held_out)

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """Terms of the loss of one network on crops (b, 1, c, c, c), scalars."""
        options = self._options

        def run(volumes: Tensor) -> Tensor:
            result: Tensor = network(volumes.contiguous(memory_format=torch.channels_last_3d))
            return result

        material = self._materials[name]
        seen, target = batch[f"{name}.seen"], batch[f"{name}.target"]
        turns = batch["turns"] if self.fixed_shapes else batch["turns"].tolist()
        if options.loss == "published":
            other = batch.get(f"{name}.other")
            return published_loss(run, seen, other, material.weight, turns, alpha=options.alpha, beta=options.beta)
        matrices = batch.get("matrices")
        terms = improved_loss(
            run,
            seen,
            target,
            material.weight,
            turns,
            ImprovedTerms(options.alpha, options.anchor, options.margin),
            noise=batch.get(f"{name}.noise"),
            matrices=matrices,
            window=None if matrices is None else self._window,
            mask=batch.get("mask"),
            degrading=material.degrading,
            target_filtered=material.filtered,
        )
        if "practice.seen" in batch:
            shown, mask, truth = (batch[f"practice.{key}"] for key in ("seen", "mask", "truth"))
            practised = practice_loss(run, shown, mask if options.see_mask else None, truth, options.margin)
            terms["practice"] = options.practice * practised
        return terms

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """The loss itself, a scalar, on crops (b, 1, c, c, c)."""
        return torch.stack(list(self.losses(name, network, batch).values())).sum()

    def tensors(self) -> Iterator[Tensor]:
        """The maps (n, n, n), noise and weights (c, c, c // 2 + 1) that crops are taken from."""
        for material in self._materials.values():
            yield from (volume for pair in material.pairs for volume in pair)
            yield from material.recorrupting or ()
            single = (material.noise, material.mask, material.weight, material.degrading)
            yield from (one for one in single if one is not None)
        yield self._window
        if self._turn_matrices is not None:
            yield self._turn_matrices

    def _samples(self, choice: Choice) -> dict[str, Tensor]:
        device = self._learned.device
        found = {"turns": choice.turns if self._turn_matrices is None else self._turn_matrices[choice.turns.to(device)]}
        if choice.matrices is not None:
            found["matrices"] = choice.matrices.to(device)
        if self._options.see_mask:
            mask = next(iter(self._materials.values())).mask
            found["mask"] = take(mask, choice.corners, self._options.cube_size)
        for name, material in self._materials.items():
            found |= {f"{name}.{key}": value for key, value in self._crops(material, choice).items()}
        return found

    def _crops(self, material: Material, choice: Choice) -> dict[str, Tensor]:
        side = self._options.cube_size
        if len(material.pairs) == 2:
            of_halves = zip(*material.pairs, strict=True)
            seen, target = (torch.stack([take(v, choice.corners, side) for v in kind]) for kind in of_halves)
            order, row = choice.swaps, torch.arange(len(choice.swaps))
            crops = {"seen": seen[order, row], "target": target[order, row]}
            if self._options.loss == "published":
                crops["other"] = seen[1 - order, row]
        else:
            seen, target = (take(volume, choice.corners, side) for volume in material.pairs[0])
            if material.recorrupting is not None:
                # What is added to the one and taken from the other makes their noise independent, so that one half is
                # enough for noise2noise (Pang, Zheng, Quan & Ji, CVPR 2021, "Recorrupted-to-recorrupted").
                signs = choice.noise_signs.view(-1, 1, 1, 1, 1).to(seen.device)
                more, less = (take(volume, choice.noise_corners, side) * signs for volume in material.recorrupting)
                seen, target = seen + more, target - less
            crops = {"seen": seen, "target": target}
        if material.noise is not None and self._options.loss == "improved":
            signs = choice.noise_signs.view(-1, 1, 1, 1, 1).to(material.noise.device)
            crops["noise"] = take(material.noise, choice.noise_corners, side) * signs
        return crops
