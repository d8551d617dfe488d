"""Tables that go with a result, as CSV."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def curve_table(curves: Mapping[str, torch.Tensor], box: int, voxel_size_A: float) -> str:
    """Curves by shell, (n // 2 + 1,) each, under their names, with each shell's resolution."""
    rows = [",".join(("shell", "resolution_A", *curves))]
    columns = [curve.tolist() for curve in curves.values()]
    for shell, values in enumerate(zip(*columns, strict=True)):
        resolution = f"{box * voxel_size_A / shell:.4f}" if shell else "inf"
        rows.append(",".join((str(shell), resolution, *(f"{value:.6f}" for value in values))))
    return "\n".join(rows) + "\n"
