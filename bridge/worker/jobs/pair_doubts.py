"""What two half-maps show of themselves before anything is made of them: the same map, filtered, masked, mixed up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cryobridge.core.fourier import fsc, last_held_shell
from cryobridge.schemas.errors import InputInvalid

_SAME, _SAME_OF_FILTERED = 0.999, 0.99999
"""FSC in every shell from which on two maps are one: measured halves differ by noise at least, though hardly in the
few shells that a filter leaves."""
_OPPOSITE, _FIRST_SHELLS = -0.5, 5
_LEVEL, _TAIL, _SIGNIFICANT = 0.05, 0.75, 5.0
"""Least FSC that counts as levelled off; from which part of the shells on; in standard deviations of chance."""
_LEVEL_SPREAD = 0.25
_HALF_AGAINST_FULL = (0.66, 0.75)
_SCALES = 1.5
_MASKED_SHARE = 0.5


@dataclass(frozen=True)
class Doubts:
    """What is to be said of a pair, and how far it reaches.

    remarks
        In sentences.
    held_shell
        Last shell that both maps hold something in; n // 2 where nothing was filtered away.
    """

    remarks: list[str]
    held_shell: int


def doubts(maps: tuple[Tensor, Tensor], paths: tuple[Path, Path], mask: Tensor | None, voxel_size_A: float) -> Doubts:
    """Look at two half-maps (n, n, n) and their mask (n, n, n), all on one device.

    Raises
    ------
    InputInvalid
        If one map is the other on another scale or level, or of opposite contrast.
    """
    first, second = maps
    box = first.shape[-1]
    names = f"{paths[0]} and {paths[1]}"
    held = [last_held_shell(half, mask) for half in maps]
    curve = fsc(first, second)
    _refuse_mixed_up(curve, min(held), names)
    remarks = _of_scale(maps, paths)
    remarks += [line for half, path in zip(maps, paths, strict=True) if (line := _of_solvent(half, path))]
    if min(held) < box // 2:
        remarks.append(_of_filter(held, paths, box, voxel_size_A))
    elif (line := _of_tail(curve, names)) is not None:
        remarks.append(line)
    return Doubts(remarks, min(held))


def _refuse_mixed_up(curve: Tensor, held: int, names: str) -> None:
    whole = held == int(curve.numel()) - 1
    # Where one map was filtered and the other not, the shell at the edge differs.
    inside = curve[1 : held + 1] if whole else curve[1 : max(held, 2)]
    least = float(inside.abs().min())
    if least >= (_SAME if whole else _SAME_OF_FILTERED):
        raise InputInvalid(
            f"{names} hold the same map: their FSC is {least:.4f} or more in every shell, so that one is the other on "
            "some scale and level; give the two half-maps"
        )
    if float(curve[1 : _FIRST_SHELLS + 1].mean()) < _OPPOSITE:
        raise InputInvalid(f"{names} have opposite contrast; multiply one of them by -1")


def _of_scale(maps: tuple[Tensor, Tensor], paths: tuple[Path, Path]) -> list[str]:
    one, two = (float(half.double().std()) for half in maps)
    ratio = max(one, two) / min(one, two)
    if ratio < _SCALES:
        return []
    larger = paths[0] if one > two else paths[1]
    return [
        f"{larger}: its values vary {ratio:.3g} times as much as the other half-map's, so that their mean is mostly "
        "this one; were both made alike?"
    ]


def _of_solvent(half: Tensor, path: Path) -> str | None:
    share = float((half == half.flatten()[0]).double().mean())
    if share <= _MASKED_SHARE:
        return None
    return (
        f"{path}: {share:.0%} of its voxels hold one and the same value: it was masked before, which raises every FSC "
        "and leaves no solvent to tell noise by; give the half-map without a mask."
    )


def _of_filter(held: list[int], paths: tuple[Path, Path], box: int, voxel_size_A: float) -> str:
    last = min(held)
    which = [path for shell, path in zip(held, paths, strict=True) if shell < box // 2]
    what = " and ".join(str(path) for path in which)
    verb = "hold" if len(which) > 1 else "holds"
    at = f"{box * voxel_size_A / last:.4g} A (shell {last} of {box // 2})" if last else "its first shell"
    return (
        f"{what} {verb} next to nothing beyond {at}: low-pass filtered before, or reconstructed to there only. No "
        "resolution is reported beyond; give the unfiltered half-maps."
    )


def _of_tail(curve: Tensor, names: str) -> str | None:
    """What a curve says that does not fall to 0 up to Nyquist but levels off."""
    last = int(curve.numel()) - 1
    shells = torch.arange(last + 1, device=curve.device).double()
    start = max(1, math.ceil(_TAIL * last))
    tail, weight = curve[start:], shells[start:].square()
    mean = float((tail * weight).sum() / weight.sum())
    chance = 1 / math.sqrt(2 * math.pi * float(weight.sum()))
    middle = max(1, tail.numel() // 2)
    drift = abs(float(tail[:middle].mean() - tail[middle:].mean())) if tail.numel() > 1 else 0.0
    if mean < max(_LEVEL, _SIGNIFICANT * chance) or drift > _LEVEL_SPREAD * mean + 3 * chance:
        return None
    mixed = " A half-map against the mean of both halves gives 0.71."
    return (
        f"Without a mask the FSC of {names} does not fall to 0 but levels off at {mean:.2f} up to Nyquist: these may "
        "not be two independent half-maps (particles in both halves, a half-map against the full map), or the voxels "
        "are too coarse for these data. Resolutions read better than they are."
        + (mixed if _HALF_AGAINST_FULL[0] <= mean <= _HALF_AGAINST_FULL[1] else "")
    )
