"""Make the network that comes with `tomo.correct`: trained on random scenes, from nothing.

    python bench/pretrain_tomogram.py pretrained_wedge.safetensors                 on a CPU, where it was not run
    python bench/pretrain_tomogram.py FILE --steps 900 --batch 2 --cube 40         a short one
    python bench/pretrain_tomogram.py FILE --device cuda --workers 14              a GPU, scenes by 14 processes

Every scene follows from a seed and its number, whatever draws it: the same numbers of steps and cubes learn from the
same scenes; rounding differs between machines. docs/pretrained-network.md says what came of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
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
from cryobridge.core.tomogram import NAME, ScenePractice, ScenesTask
from cryobridge.core.training import Batch, Network, Trainer, TrainingRecord
from cryobridge.schemas.wedge import WedgeOptions


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
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--cube", type=int, default=40)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--first", type=Path, help="go on from what an earlier run has left")
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="for processors that multiply such matrices (AMX)")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="leave off after so long, and write what there is")
    given = parser.parse_args()
    options = WedgeOptions(
        base_width=given.width,
        cube_size=given.cube,
        batch=given.batch,
        steps=given.steps,
        learning_rate=given.rate,
        ema=given.ema,
        weight_decay=1e-4,
        measured_weight=10.0,
        precision="bfloat16" if given.bfloat16 else "float32",
    )
    device = torch.device(given.device)
    learned = new_learned(options, device)
    if given.first is not None:
        learned = read_wedge_network(given.first).learned(options, device)
    if given.bfloat16:
        learned.named[NAME].optimiser.register_step_pre_hook(without_nan)
    kind = InBfloat16 if given.bfloat16 else ScenesTask
    practice = ScenePractice(1, options.batch, options.cube_size)
    if given.workers:
        loader = DataLoader(Steps(practice, given.steps), batch_size=None, num_workers=given.workers, prefetch_factor=8)
        drawn = iter(loader)
        task = kind(learned, options, lambda _: next(drawn))
    else:
        task = kind(learned, options, practice)
    record, began, cpu = TrainingRecord(), time.monotonic(), time.process_time()
    for report in Trainer(task, learned, options, steps=options.steps, seed=0, record=record).run():
        took = time.monotonic() - began
        if report.step % 100 == 0:
            mean = sum(record.losses[-100:]) / 100
            words = f"{report.step} steps, loss {mean:.4f}, {took:.0f} s, {time.process_time() - cpu:.0f} CPU s"
            print(words, flush=True)
        if report.step % 500 == 0:
            given.output.write_bytes(network_bytes(weights_of(learned), half_precision=True))
        if given.seconds is not None and took > given.seconds:
            break
    given.output.write_bytes(network_bytes(weights_of(learned), half_precision=True))


if __name__ == "__main__":
    main()
