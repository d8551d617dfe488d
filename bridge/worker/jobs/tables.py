"""Tables that go with a result, as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from cryobridge.core.training import TrainingRecord


def curve_table(curves: Mapping[str, torch.Tensor], box: int, voxel_size_A: float) -> str:
    """Curves by shell, (n // 2 + 1,) each, under their names, with each shell's resolution."""
    rows = [",".join(("shell", "resolution_A", *curves))]
    columns = [curve.tolist() for curve in curves.values()]
    for shell, values in enumerate(zip(*columns, strict=True)):
        resolution = f"{box * voxel_size_A / shell:.4f}" if shell else "inf"
        rows.append(",".join((str(shell), resolution, *(f"{value:.6f}" for value in values))))
    return "\n".join(rows) + "\n"


def loss_table(records: Sequence[TrainingRecord], held_out_every: int) -> str:
    """Losses of several networks by step, those of held-out crops where they were looked at."""
    rows = ["network,step,loss,held_out"]
    for number, record in enumerate(records, 1):
        for step, loss in enumerate(record.losses, 1):
            look, between = divmod(step, held_out_every)
            seen = f"{record.held_out[look - 1]:.6g}" if not between and look <= len(record.held_out) else ""
            rows.append(f"{number},{step},{loss:.6g},{seen}")
    return "\n".join(rows) + "\n"
