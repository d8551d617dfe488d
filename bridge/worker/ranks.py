"""Processes started by `torchrun`, as a training sees them: gradients meet over NCCL on GPUs, over gloo on CPUs."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping

import torch
import torch.distributed
from torch import Tensor

from cryobridge.core.training import ALONE, Ranks


class TorchRanks:
    """The ranks of torch's process group, which has been started."""

    def __init__(self) -> None:
        self.index = torch.distributed.get_rank()
        self.count = torch.distributed.get_world_size()

    def mean_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over all ranks, in place, all in one message."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        taken = 0
        with torch.no_grad():
            for tensor in tensors:
                tensor.copy_(flat[taken : taken + tensor.numel()].view_as(tensor))
                taken += tensor.numel()


def ranks_from_environment(device: torch.device) -> Ranks:
    """Join the other processes that `torchrun` started, or be alone where it did not start this one.

    Parameters
    ----------
    device
        Where this rank trains, see `device_of_this_rank`; its kind decides how the ranks talk.

    Raises
    ------
    ValueError
        If what torchrun sets (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) is incomplete.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ValueError(f"WORLD_SIZE is set but {', '.join(missing)} is not: start several processes with torchrun")
    if not torch.distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)
    return TorchRanks()


def device_of_this_rank(device: torch.device, environment: Mapping[str, str] = os.environ) -> torch.device:
    """The device of its own that this rank of a machine uses: GPU LOCAL_RANK for "cuda", else the one asked for.

    Raises
    ------
    ValueError
        If there are more ranks on this machine than GPUs.
    """
    if str(device) != "cuda" or "LOCAL_RANK" not in environment:
        return device
    local = int(environment["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"torchrun started process {local + 1} on this machine, but it has {torch.cuda.device_count()} visible "
            "GPUs; start one process for each GPU"
        )
    return torch.device("cuda", local)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
