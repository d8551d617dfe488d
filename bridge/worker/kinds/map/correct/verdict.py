"""`map.correct`: one line of verdict on a correction, and the rules that it follows.

A verdict warns of what was found and promises nothing: "use" means that nothing that was looked at speaks against it.
Every threshold has its source beside it; those that the field has none for are ours, and say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ....report.quantities import angstrom, percent


class Weight(IntEnum):
    """How much a finding weighs."""

    CARE = 1
    AGAINST = 2


@dataclass(frozen=True)
class Doubt:
    """Something that speaks against using a map as it is: one sentence, and how much it weighs."""

    weight: Weight
    reason: str


@dataclass(frozen=True)
class Evidence:
    """The numbers that the verdict looks at; NaN where one is not known.

    resolution_A, limit_A
        Of the half-maps before the correction, infinite where they agree nowhere; up to where it goes.
    changed_well, changed_badly
        Share of the power changed in Fourier voxels that are measured well and badly.
    correlation
        Of the mean map before and after, inside the mask.
    outside
        RMS change outside the mask over the RMS there.
    spread
        Of networks from different seeds, over the map's own deviation.
    loss_first, loss_last
        Mean losses at the beginning and the end of the training; NaN where there was none.
    warm
        Whether the network had been trained before.
    signal_badly
        Corrected amplitude in badly measured directions over that of the signal in well measured ones, the median
        over shells.
    """

    resolution_A: float
    limit_A: float
    changed_well: float = math.nan
    changed_badly: float = math.nan
    correlation: float = math.nan
    outside: float = math.nan
    spread: float = math.nan
    loss_first: float = math.nan
    loss_last: float = math.nan
    warm: bool = False
    signal_badly: float = math.nan


# All ours.
_TOUCHED, _REPLACED = 0.1, 0.5
"""Share of the power of well measured voxels that may change without a word, and that makes it another map."""
_OTHER_MAP = 0.5
"""Correlation inside the mask below which the result is another map."""
_OUTSIDE = 0.5
"""RMS change outside the mask, over the RMS there."""
_CHANCE = 0.5
"""Spread between seeds, over the map's own deviation."""
_FALLEN = 0.02
"""A loss that fell by less did not fall; as in the reading of the loss."""
_PAST = 1.1
"""So much finer than the measured resolution a limit may be without a word."""
_TOO_STRONG = 1.3
"""An estimate of least squared error is weaker than the truth; one that is stronger by this much is none."""


@dataclass(frozen=True)
class Judgement:
    """Whether to use a corrected map, and why."""

    words: str
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The line at the top of a page."""
        return f"{self.words[0].upper()}{self.words[1:]}."


USE, USE_WITH_CARE, DO_NOT_USE = "use", "use with care", "do not use"
_NOTHING_FOUND = "Nothing that was looked at speaks against using the corrected map."


def verdict(evidence: Evidence, others: Iterable[Doubt] = ()) -> Judgement:
    """Judge a correction.

    Parameters
    ----------
    evidence
        What was measured on it.
    others
        What other tests have found, e.g. that of the corrected map against what was measured in the cone.
    """
    found = [*_findings(evidence), *others]
    if not found:
        return Judgement(USE, (_NOTHING_FOUND,))
    found.sort(key=lambda one: -one.weight)
    words = DO_NOT_USE if found[0].weight is Weight.AGAINST else USE_WITH_CARE
    return Judgement(words, tuple(dict.fromkeys(one.reason for one in found)))


def _findings(evidence: Evidence) -> Sequence[Doubt]:
    return [*_of_the_halves(evidence), *_of_the_change(evidence), *_of_the_network(evidence)]


def _of_the_halves(evidence: Evidence) -> Iterable[Doubt]:
    if not math.isfinite(evidence.resolution_A):
        yield Doubt(Weight.AGAINST, "The half-maps agree at no resolution: there is nothing to correct.")
    elif evidence.limit_A * _PAST < evidence.resolution_A:
        yield Doubt(
            Weight.CARE,
            f"The correction goes to {angstrom(evidence.limit_A)}, but the half-maps agree to "
            f"{angstrom(evidence.resolution_A)} only; beyond that it has nothing to hold on to.",
        )


def _of_the_change(evidence: Evidence) -> Iterable[Doubt]:
    if evidence.changed_well > _REPLACED:
        share = percent(evidence.changed_well)
        yield Doubt(Weight.AGAINST, f"{share} of the power of well measured signal was changed: this is another map.")
    elif evidence.changed_well > _TOUCHED:
        share = percent(evidence.changed_well)
        yield Doubt(Weight.CARE, f"{share} of the power of well measured signal was changed, not only filled in.")
    if evidence.correlation < _OTHER_MAP:
        yield Doubt(
            Weight.AGAINST,
            f"Before and after correlate by {evidence.correlation:.2f} inside the mask: this is another map.",
        )
    if evidence.outside > _OUTSIDE:
        yield Doubt(
            Weight.CARE,
            f"Outside the mask the map changed by {percent(evidence.outside)} of what was there; what lies there is "
            "not to be read.",
        )
    if evidence.signal_badly > _TOO_STRONG:
        yield Doubt(
            Weight.CARE,
            f"In badly measured directions the corrected map is {evidence.signal_badly:.1f} times as strong as the "
            "signal in well measured ones: stronger than any estimate can be that is right.",
        )


def _of_the_network(evidence: Evidence) -> Iterable[Doubt]:
    if math.isnan(evidence.loss_first) != math.isnan(evidence.loss_last):
        yield Doubt(Weight.AGAINST, "The loss of the training stopped being a number.")
    elif not evidence.warm and evidence.loss_last > evidence.loss_first * (1 - _FALLEN):
        yield Doubt(Weight.CARE, "The loss of the training did not fall: the network learned nothing to rely upon.")
    if evidence.spread > _CHANCE:
        yield Doubt(
            Weight.CARE,
            f"Networks from different seeds differ by {percent(evidence.spread)} of the map's own contrast: detail of "
            "that size depends on chance.",
        )
