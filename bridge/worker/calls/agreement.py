"""How far two halves agree where they are measured worst, before and after a correction."""

from __future__ import annotations

from torch import Tensor

from cryobridge.core.directional import conical_fsc
from cryobridge.core.fourier import resample


def cone_agreement(half1: Tensor, half2: Tensor, mask: Tensor | None, direction: Tensor, limit_shell: int) -> float:
    """Mean over shells 1 to `limit_shell` of the FSC in a double cone of 20 degrees half-angle about a direction.

    Parameters
    ----------
    half1, half2, mask
        Maps (n, n, n); their means are taken off before the mask, if there is one, is put on.
    direction
        (3,), unit vector z, y, x.
    limit_shell
        Last shell that counts, at most n // 2.
    """
    first, second = half1 - half1.mean(), half2 - half2.mean()
    if mask is not None:
        first, second = first * mask, second * mask
    box = min(2 * limit_shell + 1, half1.shape[0])
    curve = conical_fsc(resample(first, box), resample(second, box), direction.view(1, 3))[0]
    return float(curve[1 : limit_shell + 1].mean())
