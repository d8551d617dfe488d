"""Make the network that comes with `tomo.correct`: trained on random scenes, from nothing, in two stages.

    python bench/pretrain_tomogram.py pretrained_wedge.safetensors                        on a CPU
    python bench/pretrain_tomogram.py pretrained_wedge.safetensors --bfloat16             as the one that comes was made
    python bench/pretrain_tomogram.py FILE --stages 2 --first STAGE1                      the second stage alone
    python bench/pretrain_tomogram.py FILE --device cuda --workers 14                     a GPU, scenes by 14 processes

After each stage the file has what there is. Every scene follows from a seed and its number, whatever draws it; rounding
differs between machines. docs/pretrained-network.md says what came of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cryobridge.bridge.worker.tomograms.wedge_network import (
    network_bytes,
    new_learned,
    read_wedge_network,
    weights_of,
)
from cryobridge.core.tomogram import NAME, PLAINLY, ScenePractice, ScenesTask
from cryobridge.core.training import Batch, Network, Trainer, TrainingRecord
from cryobridge.schemas.kinds.tomo.correct import PRETRAINED_WIDTH
from cryobridge.schemas.wedge import WedgeOptions


@dataclass(frozen=True)
class Stage:
    """Steps, cubes a step and their side, the highest rate, the seed of scenes, and `plainly` of `ScenePractice`."""

    steps: int
    batch: int
    cube: int
    rate: float
    seed: int
    plainly: float


STAGES = {"1": Stage(5000, 4, 40, 2e-3, 1, 0.0), "2": Stage(2000, 4, 48, 1e-3, 2, PLAINLY)}


class Steps(Dataset[dict[str, Tensor]]):
    """The cubes of every step, for processes that draw them ahead."""

    def __init__(self, practice: ScenePractice, count: int) -> None:
        self._practice = practice
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        torch.set_num_threads(1)
        return dict(self._practice(step))


class InBfloat16(ScenesTask):
    """The same, with the network's arithmetic in bfloat16 on a CPU too."""

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """As `ScenesTask.losses`."""
        module = self.modules[name]

        def run(*inputs: Tensor) -> Tensor:
            with torch.autocast(inputs[0].device.type, torch.bfloat16):
                answers: Tensor = module(*inputs)
            return answers.float()

        return super().losses(name, run, batch)


def without_nan(optimiser: torch.optim.Optimizer, *_: object) -> None:
    """Leave a step out: oneDNN's bfloat16 convolutions in 3D now and then return NaN from finite input."""
    found = [value for group in optimiser.param_groups for value in group["params"]]
    if not all(bool(torch.isfinite(one.grad).all()) for one in found if one.grad is not None):
        for one in found:
            one.grad = torch.zeros_like(one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--steps", type=int, help="of each stage, in place of its own number")
    parser.add_argument("--first", type=Path, help="go on from what an earlier run has left")
    parser.add_argument("--width", type=int, default=PRETRAINED_WIDTH)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="for processors that multiply such matrices (AMX)")
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    first = given.first
    for name in given.stages:
        trained(STAGES[name], given, first)
        first = given.output


def trained(stage: Stage, given: argparse.Namespace, first: Path | None) -> None:
    """Go through one stage, and write the file."""
    options = WedgeOptions(
        base_width=given.width,
        cube_size=stage.cube,
        batch=stage.batch,
        steps=given.steps or stage.steps,
        learning_rate=stage.rate,
        ema=0.998,
        weight_decay=1e-4,
        measured_weight=10.0,
        precision="bfloat16" if given.bfloat16 else "float32",
    )
    device = torch.device(given.device)
    learned = new_learned(options, device) if first is None else read_wedge_network(first).learned(options, device)
    if given.bfloat16:
        learned.named[NAME].optimiser.register_step_pre_hook(without_nan)
    kind = InBfloat16 if given.bfloat16 else ScenesTask
    task = kind(learned, options, practice_of(stage, options.steps, given.workers))
    record, began, cpu = TrainingRecord(), time.monotonic(), time.process_time()
    for report in Trainer(task, learned, options, steps=options.steps, seed=0, record=record).run():
        if report.step % 100 == 0:
            mean, took = sum(record.losses[-100:]) / 100, time.monotonic() - began
            words = f"{report.step} steps, loss {mean:.4f}, {took:.0f} s, {time.process_time() - cpu:.0f} CPU s"
            print(words, flush=True)
        if report.step % 500 == 0 or report.step == options.steps:
            given.output.write_bytes(network_bytes(weights_of(learned), half_precision=True))


def practice_of(stage: Stage, steps: int, workers: int) -> Callable[[int], Mapping[str, Tensor]]:
    """The scenes of a stage, drawn where they are asked for or ahead by other processes."""
    practice = ScenePractice(stage.seed, stage.batch, stage.cube, stage.plainly)
    if not workers:
        return practice
    loader = DataLoader(Steps(practice, steps), batch_size=None, num_workers=workers, prefetch_factor=8)
    drawn = iter(loader)
    return lambda _: next(drawn)


if __name__ == "__main__":
    main()
