"""Pre-train the small network that corrections start from, on simulated half-maps of random objects.

    python bench/pretrain.py pretrained.safetensors            5000 steps: about 50 minutes on one core, no GPU
    python bench/pretrain.py short.safetensors --steps 200     to see it run

Every scene follows from a seed, so the same command on the same machine gives the same weights; on another one rounding
differs. docs/pretrained-network.md says what it is for, what it was measured to do and what it must not be used for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from cryobridge.core.correction import CorrectionState, Practice, PretrainingTask
from cryobridge.core.training import Trainer, TrainingRecord
from cryobridge.schemas.correction import CorrectionOptions

STEPS = 5000
SCENES_SEED, CROPS, SIDE = 1, 3, 40
OPTIONS = CorrectionOptions(
    preset="tiny",
    norm="none",
    see_mask=True,
    batch=CROPS,
    learning_rate=2e-3,
    weight_decay=1e-4,
    ema=0.99,
)
_LEARNED = "0.average."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    state = CorrectionState.new(OPTIONS, "cpu")
    task = PretrainingTask(state, Practice(SCENES_SEED, CROPS, SIDE))
    record, started = TrainingRecord(), time.process_time()
    for report in Trainer(task, state, OPTIONS, steps=arguments.steps, seed=0, record=record).run():
        if report.step % 100 == 0:
            mean = sum(record.losses[-100:]) / 100
            print(f"{report.step} steps, loss {mean:.4f}, {time.process_time() - started:.0f} CPU s", flush=True)
    save_file(stored(state), arguments.output)


def stored(state: CorrectionState) -> dict[str, torch.Tensor]:
    """The averaged weights as they come with the program: half precision is plenty for a start."""
    tensors = state.tensors()
    found = {f"0.network.{key.removeprefix(_LEARNED)}": value for key, value in tensors.items() if _LEARNED in key}
    return {"layout": tensors["layout"], **{key: value.half().contiguous() for key, value in found.items()}}


if __name__ == "__main__":
    main()
