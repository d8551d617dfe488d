"""Whether a corrected map still follows what was measured, where directions are measured badly above all.

The test is the other half-map. In any part of Fourier space a half-map predicts the other one by their FSC f. A
correction that is worth anything predicts the other half-map's data better than the half-map did that it was made of,
since noise went or signal came: the true map predicts it by sqrt(f), a Wiener filter by f or more, an untouched map by
f. Structure that is not in the particle predicts nothing, whether it takes the place of the data or is added to
them, and however well it agrees between the corrected halves. So

    gain = sum N f g / sum N f^2    over shells of N voxels,

with g the FSC between a corrected half and the other half as measured, is 1 or more for every honest map on any scale,
and below 1 for a false one. Where one network saw both half-maps a good value proves nothing; a bad one still condemns.

The thresholds are ours, from eight simulated pairs: true maps, filtered maps and corrections give 0.99 to 2.0; another
protein's density at the signal's power gives -0.1 to 0.9, depending on whether data are left beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..directional import Directions
from ..fourier import box_size, check_same_box, forward, inverse, radial_sum, shell_index
from .regions import Regions, regions_of

ConsistencyLevel = Literal["follows", "care", "contradicts"]

_CARE_BELOW, _CONTRADICTS_BELOW = 0.95, 0.85
_CARE_DEVIATIONS, _CONTRADICTS_DEVIATIONS = 0.6, 2.0
_INVENTED_BELOW = 0.5
"""Agreement with the measured mean, as a share of a perfect map's, below which hardly anything measured is left."""
_INVENTED_DEVIATIONS = 3.0
_TOO_UNCERTAIN = 0.5
_SCALES = (0.67, 1.5)
_WELL_ABOVE = 0.8
_EMPTY = 0.01
_BRIGHTER = 2.0
_SAME_MAP = 0.4
"""Mean phase cosine with the measured map from which on a map that was moved or mirrored is recognised."""


@dataclass(frozen=True)
class ConsistencyFinding:
    """Something that is to be said of a corrected map: how bad it is, and one sentence."""

    level: ConsistencyLevel
    sentence: str


@dataclass(frozen=True)
class Support:
    """What the measured half-maps say of a corrected map in a part of Fourier space.

    gain
        How much better than the measured half-maps the corrected ones predict the other, measured half-map; NaN where
        nothing is measured.
    deviation
        Standard deviation of the gain by chance.
    agreement
        FSC between the corrected and the measured mean, as a share of what a perfect map would have.
    agreement_deviation
        The same for that.
    kept
        The same FSC itself.
    """

    gain: float
    deviation: float
    agreement: float
    agreement_deviation: float
    kept: float

    @property
    def level(self) -> ConsistencyLevel:
        """Whether data and corrected map contradict each other here."""
        if not math.isfinite(self.gain):
            return "follows"
        missing = (1.0 - self.gain) / self.deviation if self.deviation > 0 else 0.0
        invented = self.agreement < min(_INVENTED_BELOW, 1.0 - _INVENTED_DEVIATIONS * self.agreement_deviation)
        if invented or (self.gain < _CONTRADICTS_BELOW and missing > _CONTRADICTS_DEVIATIONS):
            return "contradicts"
        return "care" if self.gain < _CARE_BELOW and missing > _CARE_DEVIATIONS else "follows"


@dataclass(frozen=True)
class Consistency:
    """How a corrected map stands to what was measured.

    worst, badly, well
        Support about the worst direction, and in directions that are measured badly and well.
    scale
        Corrected over measured amplitude where the signal is measured well.
    power, power_before
        Mean power of a voxel in badly over that in well measured directions, of the corrected and of the measured map.
    findings
        What is to be said; none where the map follows the data.
    """

    worst: Support
    badly: Support
    well: Support
    scale: float
    power: float
    power_before: float
    findings: tuple[ConsistencyFinding, ...]

    @property
    def level(self) -> ConsistencyLevel:
        """The worst of the findings."""
        levels = {finding.level for finding in self.findings}
        return "contradicts" if "contradicts" in levels else "care" if levels else "follows"


def consistency(
    halves: tuple[Tensor, Tensor],
    corrected: tuple[Tensor, Tensor],
    mask: Tensor | None,
    directions: Directions,
    last_shell: int,
) -> Consistency:
    """Compare corrected half-maps with the half-maps that they were made of.

    Parameters
    ----------
    halves, corrected
        (n, n, n) each, of half 1 and half 2.
    mask
        (n, n, n), or None.
    directions
        How well the half-maps are measured by direction.
    last_shell
        Up to where the half-maps agree.
    """
    n = check_same_box(*halves)
    for one in corrected:
        check_same_box(halves[0], one)
    maps = _Maps(halves, corrected, mask, min(last_shell, (n - 1) // 2))
    parts = regions_of(directions, n, maps.last)
    worst, badly, well = (maps.support(part) for part in (parts.worst, parts.badly, parts.well))
    scale = maps.scale(parts.well)
    power, before = maps.relative_power(parts, maps.after), maps.relative_power(parts, maps.before)
    findings = [*_of_well(maps, well), *_of_badly(worst, badly)]
    if well.level != "contradicts":
        findings += _of_amplitude(maps, parts, scale, power, before)
    return Consistency(worst, badly, well, scale, power, before, tuple(findings))


class _Maps:
    """Spectra inside the mask: both half-maps, both corrected ones, and the means before and after."""

    def __init__(
        self, halves: tuple[Tensor, Tensor], corrected: tuple[Tensor, Tensor], mask: Tensor | None, last: int
    ) -> None:
        self.n, self.last = box_size(halves[0]), last
        self.index = shell_index(self.n, halves[0].device)
        window = torch.ones_like(halves[0]) if mask is None else mask
        # Half the voxels of a spectrum are mates; a window leaves fewer independent ones still.
        self.independent = float(window.double().square().mean() ** 2 / window.double().pow(4).mean()) / 2
        self.halves = [forward((one - one.mean()) * window) for one in halves]
        self.corrected = [forward((one - one.mean()) * window) for one in corrected]
        self.before = (self.halves[0] + self.halves[1]) / 2
        self.after = (self.corrected[0] + self.corrected[1]) / 2

    def sums(self, first: Tensor, second: Tensor, part: Tensor) -> Tensor:
        """Sum of products in each shell's voxels of a part, up to the last."""
        product = (first.real * second.real + first.imag * second.imag) * part
        return radial_sum(product, self.n, index=self.index)[: self.last + 1]

    def correlation(self, first: Tensor, second: Tensor, part: Tensor) -> Tensor:
        """FSC in a part; 0 where there is nothing."""
        scale = (self.sums(first, first, part) * self.sums(second, second, part)).sqrt()
        return torch.where(scale > 0, self.sums(first, second, part) / scale.clamp(min=1e-300), 0.0)

    def support(self, part: Tensor) -> Support:
        """What the half-maps say of the corrected ones in a part."""
        voxels = radial_sum(part.double(), self.n, index=self.index)[: self.last + 1] * self.independent
        between = self.correlation(self.halves[0], self.halves[1], part).clamp(min=0.0)
        # Where a filter has left nothing there is nothing to check; that it is missing is said elsewhere.
        voxels = torch.where(self.ended(part), 0.0, voxels)
        across = (
            self.correlation(self.corrected[0], self.halves[1], part)
            + self.correlation(self.corrected[1], self.halves[0], part)
        ) / 2
        perfect = (2.0 * between / (1.0 + between)).sqrt()
        kept = self.correlation(self.after, self.before, part)
        information = float((voxels * between.square()).sum())
        expected = float((voxels * perfect.square()).sum())
        if not information > 0.5 / _TOO_UNCERTAIN**2:
            return Support(math.nan, math.inf, math.nan, math.inf, math.nan)
        left = float((voxels * between.square() * kept).sum()) / information
        return Support(
            gain=float((voxels * between * across).sum()) / information,
            # What was kept of the half-maps varies with them and not against them.
            deviation=math.sqrt(max(1.0 - left**2, 0.0) / (2.0 * information)),
            agreement=float((voxels * perfect * kept).sum()) / expected,
            agreement_deviation=1.0 / math.sqrt(2.0 * expected),
            kept=left,
        )

    def ended(self, part: Tensor) -> Tensor:
        """Shells of a part in which next to no power is left, even beside what a Wiener filter leaves."""
        between = self.correlation(self.halves[0], self.halves[1], part).clamp(min=0.0)
        left = self.sums(self.after, self.after, part)
        return left < _EMPTY * between.square() * self.sums(self.before, self.before, part)

    def scale(self, part: Tensor) -> float:
        """Corrected over measured amplitude in the shells of a part that are measured well; NaN without any."""
        between = self.correlation(self.halves[0], self.halves[1], part)
        good = between >= min(_WELL_ABOVE, float(between.max()))
        power = float((self.sums(self.before, self.before, part) * good).sum())
        return float((self.sums(self.after, self.before, part) * good).sum()) / power if power > 0 else math.nan

    def relative_power(self, parts: Regions, spectrum: Tensor) -> float:
        """Mean over shells of the power of a voxel in badly over that in well measured directions; NaN without."""
        mean = [
            self.sums(spectrum, spectrum, part) / radial_sum(part.double(), self.n, index=self.index)[: self.last + 1]
            for part in (parts.badly, parts.well)
        ]
        ratio = mean[0] / mean[1]
        ratio = ratio[ratio.isfinite()]
        return float(ratio.mean()) if ratio.numel() else math.nan

    def moved(self) -> str | None:
        """How the corrected map lies on the measured one, if turning it over or moving it makes it fit better."""
        inside = (self.index <= self.last) & (self.index > 0)
        before = torch.where(inside, self.before / self.before.abs().clamp(min=1e-30), 0.0)
        volume = inverse(self.after, self.n)
        found = {"": volume} | {
            f"mirrored along {'zyx'[axis]}": volume.flip(axis).roll(1 - self.n % 2, axis) for axis in range(3)
        }
        peaks = {}
        for name, one in found.items():
            spectrum = forward(one)
            unit = torch.where(inside, spectrum / spectrum.abs().clamp(min=1e-30), 0.0)
            across = inverse(before * unit.conj(), self.n)
            peaks[name] = (float(across.max()), int(across.argmax()))
        name, (peak, place) = max(peaks.items(), key=lambda item: item[1][0])
        if peak < _SAME_MAP * float(inverse(inside.to(before.dtype), self.n).max()):
            return None
        shift = [place // self.n**2, place // self.n % self.n, place % self.n]
        z, y, x = (value if value <= self.n // 2 else value - self.n for value in shift)
        words = [name] if name else []
        if any((z, y, x)):
            words.append(f"moved by {-x}, {-y}, {-z} voxels (x, y, z)")
        return " and ".join(words) or None


def _of_well(maps: _Maps, well: Support) -> list[ConsistencyFinding]:
    """What is to be said where directions are measured well."""
    if well.level == "follows":
        return []
    predicts = f"it predicts the other half-map {well.gain:.2f} times as well as the half-map that it was made of"
    if well.level == "care":
        return [
            ConsistencyFinding(
                "care",
                f"Where directions are measured well the corrected map holds what the data do not: {predicts}.",
            )
        ]
    moved = maps.moved()
    if moved is not None:
        return [ConsistencyFinding("contradicts", f"The corrected map is {moved} against the half-maps.")]
    return [ConsistencyFinding("contradicts", f"The corrected map contradicts even what is measured well: {predicts}.")]


def _of_badly(worst: Support, badly: Support) -> list[ConsistencyFinding]:
    """What is to be said where directions are measured badly."""
    support = max((worst, badly), key=lambda one: ("follows", "care", "contradicts").index(one.level))
    if support.level == "follows":
        return []
    predicts = (
        f"it predicts the other half-map {max(support.gain, 0.0):.2f} times as well as the half-map that it was made of"
    )
    if support.level == "care":
        return [
            ConsistencyFinding(
                "care",
                "What the correction put into badly measured directions is not borne out by the little that was "
                f"measured there: {predicts}, and signal that is really there makes that more than 1.",
            )
        ]
    return [
        ConsistencyFinding(
            "contradicts",
            "What the correction put into badly measured directions contradicts the little that was measured there: "
            f"{predicts}, and it has {max(support.agreement, 0.0):.2f} of a true map's agreement with the data. Do not "
            "trust it there.",
        )
    ]


def _of_amplitude(maps: _Maps, parts: Regions, scale: float, power: float, before: float) -> list[ConsistencyFinding]:
    """What is to be said of a map on another scale, one that ends early, and one that is brightest in the cone."""
    found = []
    if math.isfinite(scale) and abs(scale) > 0 and not _SCALES[0] <= scale <= _SCALES[1]:
        found.append(
            ConsistencyFinding(
                "care", f"The corrected map has {scale:.2f} times the amplitude of the half-maps: another grey scale."
            )
        )
    ended = maps.ended(parts.well)[1:].nonzero()
    judged = [int(one) + 1 for one in ended if int(one) + 1 >= int(maps.index[parts.well].min())]
    if judged:
        found.append(
            ConsistencyFinding(
                "care",
                f"The corrected map holds next to nothing from shell {judged[0]} on, and the half-maps agree to shell "
                f"{maps.last}: it was filtered, and detail that had been measured is gone.",
            )
        )
    if math.isfinite(power) and power > _BRIGHTER * max(1.0, before):
        found.append(
            ConsistencyFinding(
                "care",
                f"In badly measured directions the corrected map has {power:.1f} times the power that it has in others "
                f"({before:.1f} times before): more than a particle is likely to have.",
            )
        )
    return found
