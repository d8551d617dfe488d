"""What IsoNet's filter lets through: the measured sectors, inside the circle that its slices are transformed in."""

from __future__ import annotations

import torch
from torch import Tensor

from ..wedge import Wedge, frequencies, wedge_weight

_NYQUIST = 0.5


def measured_weight(wedge: Wedge, side: int, device: torch.device | str = "cpu") -> Tensor:
    """The weight of every Fourier voxel of a cube, (side, side, side // 2 + 1).

    IsoNet filters section by section across the tilt axis y, so what it cuts off beyond Nyquist is a cylinder about
    that axis, not a ball (Liu et al. 2022, doi 10.1038/s41467-022-33957-8).
    """
    kz, _, kx = frequencies((side, side, side), device)
    return wedge_weight(wedge, (side, side, side), device=device) * (torch.hypot(kz, kx) <= _NYQUIST + 1e-6)
