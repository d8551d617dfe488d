"""Fourier shell correlation between half-maps: plain, masked, and corrected for what a mask adds.

The definition is the field's: shells by nearest integer radius, sums over the full (Friedel-symmetric) spectrum.
Knows nothing of how the maps were made; whether an FSC means resolution is the caller's to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .level import masked as under_mask
from .shells import Weighting, radial_sum, shell_index
from .transforms import box_size, check_same_box, forward, inverse

THRESHOLD = 0.143
"""FSC of two half-maps below which they do not agree: Rosenthal & Henderson 2003, doi 10.1016/j.jmb.2003.07.013."""


def spectrum_fsc(
    first: Tensor, second: Tensor, n: int, index: Tensor | None = None, weighting: Weighting = "friedel"
) -> Tensor:
    """FSC per shell, float64 (n//2+1,), of two half-spectra (n, n, n//2+1); 0 in shells without signal."""
    if index is None:
        index = shell_index(n, first.device)
    fields = torch.stack(
        [
            first.real * second.real + first.imag * second.imag,
            first.real.square() + first.imag.square(),
            second.real.square() + second.imag.square(),
        ]
    )
    cross, power1, power2 = radial_sum(fields, n, index=index, weighting=weighting)
    scale = power1.sqrt() * power2.sqrt()
    return torch.where(scale > 0, cross / scale, torch.zeros_like(cross))


def fsc(first: Tensor, second: Tensor, mask: Tensor | None = None, *, weighting: Weighting = "friedel") -> Tensor:
    """FSC per shell, float64 (n//2+1,), of two maps (n, n, n), both under `mask` (n, n, n) if given.

    The level of each map's solvent is taken off before the mask is put on, so that constants added to maps do not
    count; in maps whose solvent is at 0 it changes nothing.

    The default is the sum over the full spectrum. `weighting="stored"` gives RELION's numbers to the digit: RELION
    loops over the stored half, so its plane kx = 0 counts twice, a difference of order 0.01 in the lowest shells.

    References
    ----------
    Harauz & van Heel 1986, Optik 73:146.
    """
    n = check_same_box(first, second)
    if mask is not None:
        check_same_box(first, mask)
        first, second = under_mask(first, mask), under_mask(second, mask)
    return spectrum_fsc(forward(first), forward(second), n, weighting=weighting)


def phase_randomise(volume: Tensor, from_shell: int, generator: torch.Generator) -> Tensor:
    """Copy of (n, n, n) whose phases are random from shell `from_shell` on; amplitudes stay as they are.

    The random phases are those of white noise, so the result is real without any repair of Friedel
    pairs. The noise is drawn where the generator lives: the same seed gives the same map on every device.
    """
    n = box_size(volume)
    noise = torch.randn((n, n, n), generator=generator, device=generator.device, dtype=torch.float32)
    random = forward(noise.to(volume))
    length = random.abs()
    unit = torch.where(length > 0, random / length, torch.ones_like(random))
    spectrum = forward(volume)
    beyond = shell_index(n, volume.device) >= from_shell
    return inverse(torch.where(beyond, spectrum.abs() * unit, spectrum), n)


@dataclass(frozen=True)
class CorrectedFsc:
    """The curves of a mask-corrected FSC, each float64 (n//2+1,), and the shell where randomisation begins."""

    unmasked: Tensor
    masked: Tensor
    randomised: Tensor
    corrected: Tensor
    randomised_from: int | None


def corrected_fsc(
    first: Tensor, second: Tensor, mask: Tensor, seed: int, *, randomise_below: float = 0.8
) -> CorrectedFsc:
    """Masked FSC of two maps (n, n, n), corrected for the correlation that the mask itself brings in.

    Phases of both maps are randomised from the shell where the unmasked FSC falls below `randomise_below` for good;
    from two shells further on the corrected curve is (masked - randomised) / (1 - randomised), and 0 where the
    randomised curve is the larger one. Before that shell it is the masked curve. When the unmasked FSC never falls
    so low nothing can be randomised: `randomised_from` is None and the corrected curve is the masked one.

    References
    ----------
    Chen et al. 2013, doi 10.1016/j.ultramic.2013.06.004.
    """
    n = check_same_box(first, second)
    check_same_box(first, mask)
    unmasked, masked = fsc(first, second), fsc(first, second, mask)
    start = resolution_shell(unmasked, randomise_below) + 1
    if start > n // 2:
        return CorrectedFsc(unmasked, masked, masked.clone(), masked.clone(), None)
    generator = torch.Generator().manual_seed(seed)
    random1 = phase_randomise(first, start, generator)
    random2 = phase_randomise(second, start, generator)
    randomised = fsc(random1, random2, mask)
    gain = (masked - randomised) / (1.0 - randomised).clamp(min=1e-12)
    corrected = torch.where(randomised > masked, torch.zeros_like(gain), gain)
    shell = torch.arange(n // 2 + 1, device=first.device)
    corrected = torch.where(shell >= start + 2, corrected, masked)
    return CorrectedFsc(unmasked, masked, randomised, corrected, start)


_SPREAD = 5.3
"""Three standard deviations of an FSC without signal, times the shell, where a mask leaves 5 % of the box: a shell of
radius r holds 2 pi r^2 independent values without a mask."""
_LEAST_ABOVE = 0.15
_FEWEST_SHELLS = 3
_SHELLS_PER_RUN = 8


def dips(curve: Tensor, threshold: float = THRESHOLD) -> list[tuple[int, int]]:
    """Shells (first, last) in which a curve (n//2+1,) is below the threshold for a while and well above it after that.

    A zero of the CTF, a ring of ice or of a membrane, or a strong repeat can spoil a shell or two of maps that agree
    further out. Well above is a run of shells, none of them below the threshold, that begins right after the dip: at
    least three, twice as many as the dip has, and an eighth as many as lie before it. Their mean lies above the
    threshold by three standard deviations of what chance gives in those shells, half the way to 1 at most; a tail that
    flickers about the threshold is no recovery.
    """
    found: list[tuple[int, int]] = []
    runs = _runs_above(curve, threshold)
    if not runs or runs[0][0] != 1:
        return found
    reached = runs[0][1]
    for start, end in runs[1:]:
        if _is_recovery(curve, threshold, reached, start, end):
            found.append((reached, start - 1))
            reached = end
    return found


def _runs_above(curve: Tensor, threshold: float) -> list[tuple[int, int]]:
    """Runs of shells, from 1 on, in which a curve is not below the threshold: the first, and the one after the last."""
    above = [False, *(curve[1:] >= threshold).tolist(), False]
    starts = [shell for shell in range(1, len(above)) if above[shell] and not above[shell - 1]]
    ends = [shell for shell in range(1, len(above)) if above[shell - 1] and not above[shell]]
    return list(zip(starts, ends, strict=True))


def _is_recovery(curve: Tensor, threshold: float, lost: int, start: int, end: int) -> bool:
    """Whether the shells from `start` to before `end` are well above, for a curve that was lost at shell `lost`."""
    fewest = max(_FEWEST_SHELLS, 2 * (start - lost), math.ceil(lost / _SHELLS_PER_RUN))
    by = min(max(_SPREAD / start, _LEAST_ABOVE), (1.0 - threshold) / 2)
    # Only the beginning of the run: where it falls to the threshold at last, it does so slowly.
    return end - start >= fewest and float(curve[start : start + fewest].mean()) >= threshold + by


def resolution_shell(
    curve: Tensor, threshold: float = THRESHOLD, *, passed: Sequence[tuple[int, int]] | None = None
) -> int:
    """Last shell before a curve (n//2+1,) falls below the threshold for good; 0 when shell 1 is already below.

    For good means that it does not come back to well above it, see `dips`. A curve of few voxels, as that of one
    direction, does so by chance: `passed` are the dips of the curve of all directions in its place.
    """
    passed = dips(curve, threshold) if passed is None else passed
    below = [
        shell
        for shell in (curve < threshold).nonzero().flatten().tolist()
        if shell > 0 and not any(first <= shell <= last for first, last in passed)
    ]
    return below[0] - 1 if below else int(curve.numel()) - 1


def resolution(curve: Tensor, voxel_size_A: float, threshold: float = THRESHOLD, *, box: int | None = None) -> float:
    """Resolution in Angstrom where a curve (n//2+1,) falls below the threshold for good, see `resolution_shell`.

    It is the resolution of the last shell above; infinite when shell 1 is already below. `box` is needed for odd
    boxes only: a curve of m shells is taken to be of box 2 (m - 1).
    """
    n = 2 * (int(curve.numel()) - 1) if box is None else box
    shell = resolution_shell(curve, threshold)
    return math.inf if shell == 0 else n * voxel_size_A / shell
