"""Which of two networks to use: the one that says more of a direction that was measured, and was taken away from it.

A well-measured double cone of what networks see is made as bad as the worst one. What a network then puts there is
compared with what the other half-map holds of it, whose noise it has not seen.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ..correction import Sight, mean_in_cones
from ..directional import FIRST_SHELL, HALF_ANGLE_DEG
from ..fourier import expand, fibonacci_directions, radial_sum, shell_index
from .holdout import Cone, degrade, score

_DIRECTIONS = 60
_APART = 0.77  # cosine of 40 degrees: the two cones do not touch
_EVEN = 0.9
"""Ours: where the worst direction has nine tenths of the best one's signal there is no direction to be missed."""


@dataclass(frozen=True)
class ConeTrial:
    """What two networks are tried on.

    sight
        As the correction's own, (m, m, m), with one cone made bad.
    cone
        That cone.
    other
        What the other half holds of it, (m, m, m).
    limit_shell
        First shell that does not count.
    """

    sight: Sight
    cone: Cone
    other: Tensor
    limit_shell: int

    def score(self, network_map: Tensor) -> float:
        """Mean FSC, over shells, between a network's map (m, m, m) of half 1 and the other half in the cone."""
        curve = score(network_map, self.other.to(network_map), self.cone, self.sight.mask)
        return float(curve[FIRST_SHELL : self.limit_shell].mean())


def cone_trial(sight: Sight, limit_shell: int, generator: torch.Generator) -> ConeTrial | None:
    """Make a trial of what networks see; None where no direction is worse than another or no filter is known.

    Parameters
    ----------
    sight
        With a Wiener filter.
    limit_shell
        First shell that does not count.
    generator
        Of the noise that makes the cone bad.
    """
    if sight.fraction is None:
        return None
    vectors = fibonacci_directions(_DIRECTIONS, sight.fraction.device)
    signal = mean_in_cones(sight.fraction, vectors, limit_shell)
    worst = int(signal.argmin())
    apart = (vectors @ vectors[worst]).abs() < _APART
    best = int(torch.where(apart, signal, signal.min() - 1).argmax())
    if float(signal[worst]) > _EVEN * float(signal[best]):
        return None
    cone, like = (Cone(vectors[one : one + 1], HALF_ANGLE_DEG) for one in (best, worst))
    spoilt = degrade(*sight.starts, cone, like, generator)
    m = sight.fraction.shape[0]
    member = like.member(m)
    index = shell_index(m, member.device)
    mean = radial_sum(sight.fraction * member, m, index=index) / radial_sum(member.float(), m, index=index).clamp(min=1)
    bad = torch.minimum(expand(mean.float(), m, index=index), sight.fraction)
    fraction = torch.where(cone.member(m), bad, sight.fraction)
    return ConeTrial(
        dataclasses.replace(sight, starts=(spoilt.half1, spoilt.half2), fraction=fraction),
        cone,
        sight.starts[1],
        limit_shell,
    )
