"""Which parts of Fourier space are measured worse than the others, by direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..directional import HALF_ANGLE_DEG, Directions, first_judged_shell
from ..fourier import bin_directions, frequency_bins, shell_index

_BINS_PER_FACE = 16
_WORST_HALF_ANGLE_DEG = 35.0


@dataclass(frozen=True)
class Regions:
    """Parts of Fourier space, boolean (n, n, n//2+1) each, within the shells that are judged.

    worst
        The double cone about the worst direction.
    badly, well
        Directions nearer to the worst than to the best, by the area under their FSC curves, and the others.
    """

    worst: Tensor
    badly: Tensor
    well: Tensor


def regions_of(directions: Directions, n: int, last_shell: int) -> Regions:
    """Divide a box's half-spectrum (n, n, n//2+1), from the first shell that a cone is judged in to a last one."""
    vectors = directions.vectors
    areas = directions.curves[:, 1 : last_shell + 1].double().sum(dim=1)
    near = (vectors @ vectors.T).abs() >= math.cos(math.radians(HALF_ANGLE_DEG))
    smooth = (near.double() @ areas) / near.double().sum(dim=1)
    worst = vectors[int(smooth.argmin())]
    bins = bin_directions(_BINS_PER_FACE, vectors.device)
    place = frequency_bins(n, _BINS_PER_FACE, vectors.device).long()
    badly = (areas <= (areas.min() + areas.max()) / 2)[(bins @ vectors.T).abs().argmax(dim=1)][place]
    about = ((bins @ worst).abs() >= math.cos(math.radians(_WORST_HALF_ANGLE_DEG)))[place]
    shell = shell_index(n, vectors.device)
    inside = (shell >= first_judged_shell(HALF_ANGLE_DEG)) & (shell <= last_shell)
    return Regions(about & inside, badly & inside, ~badly & inside)
