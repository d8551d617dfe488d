"""`python rank_training.py FILE` under torchrun's variables: train with the other ranks, write the network to FILE."""

from __future__ import annotations

import sys
from pathlib import Path

# Started as a program: the tests' folder is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from safetensors.torch import save_file

from cryobridge.bridge.worker.ranks import device_of_this_rank, ranks_from_environment
from cryobridge.core.correction import CorrectionState, train
from cryobridge.core.training.ranks import Ranks
from support.correction_data import noisy_pair, tiny_options

STEPS = 4


def trained(ranks: Ranks, device: torch.device) -> CorrectionState:
    """The training that one process and several are compared on."""
    options = tiny_options(batch=4, steps=STEPS, norm="none", identity_start=False, held_out=2, held_out_every=2)
    state = CorrectionState.new(options, device)
    for _ in train(state, *noisy_pair(), options, ranks=ranks):
        pass
    return state


def main() -> None:
    device = device_of_this_rank(torch.device("cpu"))
    ranks = ranks_from_environment(device)
    save_file(trained(ranks, device).tensors(), sys.argv[1])
    print(f"rank {ranks.index} of {ranks.count}")


if __name__ == "__main__":
    main()
