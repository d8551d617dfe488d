"""Pre-train the small network that corrections start from, on simulated half-maps of random objects.

    python bench/pretrain.py pretrained.safetensors            both stages: about 100 minutes on one core, no GPU
    python bench/pretrain.py short.safetensors --steps 200     to see it run
    python bench/pretrain.py pretrained.safetensors --first FILE    the second stage alone, from what the first has left

The second stage has wider crops and data to 0.6 to 0.9 of Nyquist, as corrections show them. Every scene follows from a
seed, so the same command on the same machine gives the same weights; on another one rounding differs.
docs/pretrained-network.md says what it is for, what it was measured to do and what it must not be used for.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cryobridge.core.correction import CorrectionState, Practice, PretrainingTask
from cryobridge.core.training import Trainer, TrainingRecord
from cryobridge.schemas.correction import CorrectionOptions


@dataclass(frozen=True)
class Stage:
    """One training: steps of so many crops of a side, each of a scene of its own, with data that reach so far."""

    seed: int
    steps: int
    crops: int
    side: int
    learning_rate: float
    reach: tuple[float, float]


STAGES = (Stage(1, 5000, 3, 40, 2e-3, (0.65, 0.98)), Stage(2, 4000, 2, 48, 1.2e-3, (0.6, 0.9)))
OPTIONS = CorrectionOptions(preset="tiny", norm="none", see_mask=True, weight_decay=1e-4, ema=0.99)
_LEARNED = "0.average."
_STORED = "0.network."
_PARTS = "network", "average"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, help="of each stage, instead of its own")
    parser.add_argument("--first", type=Path, help="what the first stage has left; it is not done again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = None if arguments.first is None else load_file(arguments.first)
    for stage in STAGES if kept is None else STAGES[1:]:
        kept = trained(stage, kept, arguments.steps or stage.steps)
        save_file(kept, arguments.output)


def trained(stage: Stage, kept: dict[str, torch.Tensor] | None, steps: int) -> dict[str, torch.Tensor]:
    """What a stage makes of what is kept of the one before."""
    options = OPTIONS.model_copy(update={"batch": stage.crops, "learning_rate": stage.learning_rate})
    state = CorrectionState.new(options, "cpu")
    if kept is not None:
        _take_over(state, kept)
    task = PretrainingTask(state, Practice(stage.seed, stage.crops, stage.side, reach=stage.reach))
    record, started = TrainingRecord(), time.process_time()
    for report in Trainer(task, state, options, steps=steps, seed=0, record=record).run():
        if report.step % 100 == 0:
            mean = sum(record.losses[-100:]) / 100
            print(f"{report.step} steps, loss {mean:.4f}, {time.process_time() - started:.0f} CPU s", flush=True)
    return stored(state)


def stored(state: CorrectionState) -> dict[str, torch.Tensor]:
    """The averaged weights as they come with the program: half precision is plenty for a start."""
    tensors = state.tensors()
    found = {f"{_STORED}{key.removeprefix(_LEARNED)}": value for key, value in tensors.items() if _LEARNED in key}
    return {"layout": tensors["layout"], **{key: value.half().contiguous() for key, value in found.items()}}


def _take_over(state: CorrectionState, kept: dict[str, torch.Tensor]) -> None:
    values = {key.removeprefix(_STORED): value.float() for key, value in kept.items() if key.startswith(_STORED)}
    # What was averaged once is its own average.
    state.learner(1).load_tensors({f"{part}.{name}": value for name, value in values.items() for part in _PARTS})


if __name__ == "__main__":
    main()
