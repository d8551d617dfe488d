"""A finished correction: all that its page, its tables and its verdict are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cryobridge.core.diagnosis import Consistency
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.kinds.map.correct import MapCorrectJob

from ....training.ensemble import Trained
from . import words
from .looking import DISPLAY, DISPLAY_STATEMENT, LookingMaps
from .measures import Measures
from .outputs import CorrectedPair
from .prepare import Prepared
from .verdict import Doubt, Evidence, Judgement, Weight, verdict


@dataclass(frozen=True)
class Cost:
    """What a job took: seconds by step, and the most memory that its process held (None on a CPU: no GPU)."""

    seconds: Mapping[str, float]
    host_bytes: int
    gpu_bytes: int | None


@dataclass(frozen=True)
class Correction:
    """A finished correction, and all it was made with.

    trained
        The networks, at least one.
    network
        Options of the training as used.
    measures
        What was measured on it.
    looking
        The maps for looking at.
    cost
        Time and memory up to here.
    others
        What tests of it have found that are no part of this kind.
    """

    job: MapCorrectJob
    prepared: Prepared
    trained: list[Trained]
    found: CorrectedPair
    network: CorrectionOptions
    measures: Measures
    looking: LookingMaps
    cost: Cost
    others: tuple[Doubt, ...] = ()

    @cached_property
    def verdict(self) -> Judgement:
        """Whether to use it."""
        return verdict(self._evidence(), self.others)

    @property
    def statements(self) -> list[str]:
        """What a reader must know whatever the result."""
        inputs = self.job.inputs
        lines = words.independence(
            self.network.mode,
            trained=bool(self.trained[0].record.losses),
            weight_from_both=not self.prepared.fsc3d_given,
            reference_resolution_A=None if inputs.reference is None else self.job.options.reference_resolution_A,
            pretrained=inputs.network is not None,
            untouched=inputs.network is None and not self.trained[0].record.losses,
        )
        chosen = [words.choice(one.choice) for one in self.trained if one.choice is not None]
        display = [DISPLAY_STATEMENT] if DISPLAY in self.looking.maps else []
        return [*lines, *chosen, *display, *self.prepared.choices]

    @property
    def began_trained(self) -> bool:
        """Whether the network had learned before, so that its loss need not fall."""
        return self.job.inputs.network is not None or self.job.options.begins_pretrained

    def _evidence(self) -> Evidence:
        losses = self.trained[0].record.losses
        window = max(1, len(losses) // 10)
        return Evidence(
            resolution_A=self.prepared.measured.resolution_A,
            limit_A=self.prepared.limit_A,
            changed_well=self.found.changed_well,
            changed_badly=self.found.changed_badly,
            correlation=self.found.correlation,
            outside=self.measures.outside,
            spread=self.found.relative_spread,
            loss_first=_mean(losses[:window]),
            loss_last=_mean(losses[-window:]),
            warm=self.began_trained,
            signal_badly=self.measures.signal_badly,
        )


def doubts_of(consistency: Consistency) -> tuple[Doubt, ...]:
    """What speaks against a correction beside what was measured."""
    weights = {"contradicts": Weight.AGAINST, "care": Weight.CARE}
    return tuple(Doubt(weights[found.level], found.sentence) for found in consistency.findings)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
