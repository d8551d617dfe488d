"""Small tomograms of a known specimen, with even and odd halves as files, as a user has them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.tomogram import ContrastTransfer, DeconvolutionFilter, Wedge, filtered, wedge_weight
from cryobridge.wrappers.formats import mrc

from .tomogram_tables import write_table

PIXEL_A = 8.0
DEFOCUS_A = 25_000.0
OPTICS = DeconvolutionFilter(PIXEL_A, DEFOCUS_A, 300.0, 2.7, 0.1)
GREY, DEEP = 100.0, 10.0
"""The level of the files, and how deep the specimen's density reaches below it, in deviations."""


def specimen(seed: int = 1, side: int = 40, balls: int = 60, sigma: float = 0.9) -> Tensor:
    """Balls (side, side, side), bright where dense, of unit deviation."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.arange(side, dtype=torch.float32)
    truth = torch.zeros(side, side, side)
    for _ in range(balls):
        lines = [torch.exp(-0.5 * ((axis - c) / sigma).square()) for c in torch.rand(3, generator=generator) * side]
        truth = torch.maximum(truth, torch.einsum("z,y,x->zyx", *lines))
    return (truth - truth.mean()) / truth.std()


def seen_halves(
    truth: Tensor,
    noise: float = 0.4,
    seed: int = 1,
    wedge: Wedge | None = None,
    transfer: ContrastTransfer | None = None,
) -> tuple[Tensor, Tensor]:
    """Both halves of what tilts see of a specimen, on the grey scale of files; through a CTF if there is one."""
    generator = torch.Generator().manual_seed(1000 + seed)
    weight = wedge_weight(wedge or Wedge.of_range(), truth.shape)
    if transfer is not None:
        truth = filtered(truth, transfer.signs(truth.shape) * transfer.magnitude(truth.shape))
    even, odd = (
        GREY - DEEP * filtered(truth + noise * torch.randn(truth.shape, generator=generator), weight) for _ in range(2)
    )
    return even, odd


def halved_tomograms(folder: Path, count: int = 1, side: int = 40, *, halves: bool = True, **columns: object) -> Path:
    """A table of tomograms with their halves, `tomo1.mrc`, `tomo1_even.mrc` and `tomo1_odd.mrc` and so on."""
    rows = []
    for number in range(1, count + 1):
        even, odd = seen_halves(specimen(number, side), seed=number)
        row = {"rlnIndex": number, "rlnMicrographName": f"tomo{number}.mrc", "rlnPixelSize": PIXEL_A}
        for name, volume in (("", (even + odd) / 2), ("_even", even), ("_odd", odd)):
            mrc.write_atomically(folder / f"tomo{number}{name}.mrc", volume.numpy(), PIXEL_A)
        if halves:
            row["rlnTomoReconstructedTomogramHalf1"] = f"tomo{number}_even.mrc"
            row["rlnTomoReconstructedTomogramHalf2"] = f"tomo{number}_odd.mrc"
        rows.append({**row, "rlnDefocus": DEFOCUS_A, **columns})
    return write_table(folder, rows)
