"""High frequencies raised by a B-factor, no further than there is something to raise.

A structure's amplitudes fall as exp(-B f^2 / 4); data are multiplied by the inverse. Beyond the frequency up to which
two halves agree there is noise alone: from there the exponent falls to 0 within four shells, so that noise is left as
it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .shells import WIDTH, radius

_FADING = 4 * WIDTH


def sharpening(
    shape: Sequence[int], bfactor_px2: float, believed_to: float, device: torch.device | str = "cpu"
) -> Tensor:
    """What each frequency is multiplied by, float32 (z, y, x // 2 + 1); 1 at frequency 0 and where noise is alone.

    Parameters
    ----------
    shape
        Of the volume, (z, y, x).
    bfactor_px2
        B in squared voxels: in squared Angstrom, over the square of the voxel size.
    believed_to
        Up to which frequency all of it counts, in cycles per voxel; at Nyquist (0.5) there is no end.
    """
    distance = radius(shape, device)
    exponent = bfactor_px2 / 4 * distance.square()
    if believed_to < 0.5:
        beyond = ((distance - believed_to) / _FADING).clamp(0, 1)
        exponent = exponent * (0.5 + 0.5 * torch.cos(math.pi * beyond))
    else:
        # Corners beyond Nyquist count as Nyquist does.
        exponent = exponent.clamp(max=bfactor_px2 / 16)
    return exponent.exp()
