"""What networks see of two half-maps: maps, what a voxel counts, the mask; in a box no larger than the limit asks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import apply_filter, crop_spectrum, pad_spectrum, resample, shell_index
from .level import levelling, signal_amplitude

LIMIT_OF_NYQUIST = 0.75
"""Where the limit lies in the box that networks see: convolutions need room to the edge of it. docs/BENCHMARKS.md."""
_LEAST_MASK = 0.02
_SMALLEST_BOX = 16


@dataclass(frozen=True)
class Sight:
    """What networks see and learn from; m may be smaller than the box of the half-maps.

    starts
        Maps (m, m, m) of both halves.
    weight
        How much each Fourier voxel counts in training, (m, m, m // 2 + 1).
    mask
        (m, m, m), or None.
    fraction
        (m, m, m // 2 + 1), the Wiener filter through which networks see maps; None: they see them weighted, or as they
        are, as the options of the training say.
    filtered
        Whether the starts went through that filter already, before we had them.
    levels
        (m, m, m // 2 + 1) each, what made a start of a half-map; None where a start is a half-map.
    """

    starts: tuple[Tensor, Tensor]
    weight: Tensor
    mask: Tensor | None
    fraction: Tensor | None = None
    filtered: bool = False
    levels: tuple[Tensor, Tensor] | None = None

    def start_of(self, half: Tensor, which_half: int) -> Tensor:
        """What networks would start from of another map (n, n, n) like half 1 or 2, (m, m, m)."""
        if self.levels is None:
            return half
        level = self.levels[which_half - 1]
        return apply_filter(resample(half.float(), level.shape[0]), level)

    def unlevelled(self, network_map: Tensor, which_half: int) -> Tensor:
        """A network's map (m, m, m) of half 1 or 2 with the spectrum that its start had before it was levelled."""
        if self.levels is None:
            return network_map
        level = self.levels[which_half - 1]
        return apply_filter(network_map.float(), torch.where(level > 0, 1 / level, 0.0))

    def on(self, device: torch.device) -> Sight:
        """The same on a device."""
        first, second = (start.to(device) for start in self.starts)
        mask, fraction = (None if one is None else one.to(device) for one in (self.mask, self.fraction))
        levels = None if self.levels is None else (self.levels[0].to(device), self.levels[1].to(device))
        return Sight((first, second), self.weight.to(device, torch.float32), mask, fraction, self.filtered, levels)

    def seen(self, start: Tensor) -> Tensor:
        """What a network sees of a start (m, m, m), where there is a filter."""
        return start if self.fraction is None or self.filtered else apply_filter(start, self.fraction)

    def tensors(self) -> list[Tensor]:
        """All maps (m, m, m) and spectra (m, m, m // 2 + 1)."""
        others = (self.mask, self.fraction, *(self.levels or ()))
        return [*self.starts, self.weight, *(one for one in others if one is not None)]


def levelled_sight(
    halves: tuple[Tensor, Tensor],
    fraction: Tensor,
    mask: Tensor | None,
    limit_shell: int,
    *,
    filtered: bool = False,
    apart: bool = False,
    limit_of_nyquist: float = LIMIT_OF_NYQUIST,
) -> Sight:
    """What networks see of half-maps (n, n, n) whose signal takes up a fraction (n, n, n // 2 + 1) of each voxel.

    Levelled (see `level`) and Fourier-cropped to a box not much larger than the limit asks: there is nothing beyond it
    to learn from, and it can take most of the voxels.

    Parameters
    ----------
    halves, fraction, mask
        On one device; the mask (n, n, n) may be None.
    limit_shell
        First shell that is left out.
    filtered
        Whether the halves went through a Wiener filter of that fraction already.
    apart
        Level each half by its own amplitudes, so that neither knows anything of the other.
    limit_of_nyquist
        At which share of the new Nyquist the limit lies, where the box was large enough.
    """
    n = fraction.shape[0]
    m = sight_box(n, limit_shell - 1, limit_of_nyquist)
    within = (shell_index(m, fraction.device) < limit_shell).float()
    first, second = (apply_filter(resample(half.float(), m), within) for half in halves)
    seen_mask = None if mask is None else resampled_mask(mask, m)
    wiener = resampled_spectrum(fraction, m) * within
    shown = (first, second) if filtered else (apply_filter(first, wiener), apply_filter(second, wiener))
    levels = _levels(shown, wiener, seen_mask, within, apart=apart)
    # What is filtered already can only be compared after the network's map went through the same filter.
    weight = wiener if filtered else (2 * wiener / (1 + wiener)).sqrt()
    starts = apply_filter(first, levels[0]), apply_filter(second, levels[1])
    return Sight(starts, weight, seen_mask, wiener, filtered, levels)


def _levels(
    shown: tuple[Tensor, Tensor], wiener: Tensor, mask: Tensor | None, within: Tensor, *, apart: bool
) -> tuple[Tensor, Tensor]:
    m = wiener.shape[0]
    pairs = [(half, half) for half in shown] if apart else [shown]
    found = [levelling(signal_amplitude(pair, wiener, mask), m) * within for pair in pairs]
    return found[0], found[-1]


def sight_box(n: int, last_shell: int, limit_of_nyquist: float = LIMIT_OF_NYQUIST) -> int:
    """Even box, at most n, in which a shell lies at a share of Nyquist."""
    wanted = 2 * math.ceil(max(last_shell, 1) / limit_of_nyquist)
    return min(n, max(wanted, _SMALLEST_BOX))


def resampled_mask(mask: Tensor, m: int) -> Tensor:
    """A mask (n, n, n) in another box (m, m, m), without the ripples of its resampling."""
    if m == mask.shape[-1]:
        return mask
    found = resample(mask.float(), m).clamp(0, 1)
    return torch.where(found < _LEAST_MASK, 0.0, found)


def resampled_spectrum(values: Tensor, m: int) -> Tensor:
    """Real values (n, n, n // 2 + 1) on the grid of a smaller box of the same extent, (m, m, m // 2 + 1)."""
    if m == values.shape[0]:
        return values
    odd = m - 1 if m % 2 == 0 else m
    return pad_spectrum(crop_spectrum(values, odd), m)
