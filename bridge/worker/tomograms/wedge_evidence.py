"""What the tomograms of a job tell of their signal, before anything is learned, and blocks to learn from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch

from cryobridge.core.tomogram import (
    Curve,
    SignalEvidence,
    TomogramBlock,
    VolumeBlock,
    Wedge,
    agreement_of,
    block_of,
    fading,
    reduction,
    shares,
    shell_index,
    signal_share,
    summed,
    wedge_weight,
    wiener,
)
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.table import Tomogram
from cryobridge.wrappers.tomograms.volumes import opened_mask

from ..loop import Progress
from .halves import HalvesOfTomogram, blocks_of, middle_first, opened_halves

_ASKED = 4
"""Blocks of a tomogram that are asked how far its halves agree."""
_LEARNED_FROM = 8
"""Blocks of all tomograms that are kept for learning."""
_HALVES_AGREE = 0.3
_NOT_BY_CHANCE = 5.0
_TOO_SMALL = 1e-3


@dataclass(frozen=True)
class TomogramEvidence:
    """One tomogram, what is known of its signal, and whether it was taken whole."""

    tomogram: Tomogram
    wedge: Wedge
    evidence: SignalEvidence
    margin: int


@dataclass(frozen=True)
class Gathered:
    """What was found out of all tomograms.

    Attributes
    ----------
    tomograms
        Each with what is known of it.
    blocks
        To learn from, on the device.
    cube_size
        Side of training cubes that fit into them, in reduced voxels.
    """

    tomograms: list[TomogramEvidence]
    blocks: list[TomogramBlock]
    cube_size: int


Opener = Callable[[Tomogram, Wedge], AbstractContextManager[HalvesOfTomogram]]


def gathered(
    rows: Sequence[tuple[Tomogram, Wedge]],
    device: torch.device,
    cube_size: int,
    *,
    within_mask: bool,
    opened: Opener = opened_halves,
    factor: int | None = None,
) -> Generator[Progress, None, Gathered]:
    """Measure every tomogram, and prepare blocks to learn from.

    Parameters
    ----------
    rows
        Each with its wedge.
    cube_size
        That is wanted; it is made smaller where no tomogram holds such a cube.
    within_mask
        Take blocks with the most of a row's mask in them.
    opened
        How a row is opened.
    factor
        By which tomograms are reduced; if None, as far as the data allow.

    Raises
    ------
    InputInvalid
        If a file cannot be read, or the halves of a tomogram agree in nothing.
    """
    measured = []
    for number, (tomogram, wedge) in enumerate(rows):
        yield Progress(f"{tomogram.name}: how far its halves agree", number / (2 * len(rows)))
        with opened(tomogram, wedge) as halves:
            measured.append(_measured(halves, device))
    if factor is None:
        # One network for all of them sees one voxel size: fine enough for the best, and for cubes to fit in.
        thickest = max(min(one.shape) for one in measured)
        factor = max(1, min([thickest // cube_size, *(reduction(one.agreement) for one in measured)]))
    found: list[TomogramEvidence] = []
    blocks: list[TomogramBlock] = []
    each = max(1, _LEARNED_FROM // len(rows))
    for number, ((tomogram, wedge), known) in enumerate(zip(rows, measured, strict=True)):
        yield Progress(f"{tomogram.name}: preparing", 0.5 + number / (2 * len(rows)))
        with opened(tomogram, wedge) as halves:
            cut, margin = blocks_of(halves, factor)
            pairs = [halves.block(one, device) for one in _best(halves, cut, each, within_mask=within_mask)]
            # A filter that takes slow changes of grey away leaves blocks at another level.
            offset = _level(pairs) if halves.is_deconvolved else known.offset
            evidence = SignalEvidence(known.agreement, factor, offset, 1.0, known.paired, halves.bfactor_px2)
            evidence = replace(evidence, scale=_scale(pairs, evidence, margin))
            found.append(TomogramEvidence(tomogram, wedge, evidence, margin))
            if len(blocks) < _LEARNED_FROM:
                blocks += [block_of(*pair, wedge, evidence, margin, halves.transfer) for pair in pairs]
    inner = [min(side - 2 * one.margin for side in one.shape) for one in blocks]
    fitting = min(cube_size, max(inner) // 8 * 8)
    kept = [one for one, side in zip(blocks, inner, strict=True) if side >= fitting]
    return Gathered(found, kept, fitting)


@dataclass(frozen=True)
class _Measured:
    """How far halves agree, the mean grey value, whether there are two, and the tomogram's sides."""

    agreement: Curve
    offset: float
    paired: bool
    shape: tuple[int, int, int]


def _measured(halves: HalvesOfTomogram, device: torch.device) -> _Measured:
    cut, margin = blocks_of(halves, 1)
    chosen = middle_first(cut, halves.shape)[:_ASKED]
    total, count, pairs = 0.0, 0, []
    for one in chosen:
        # A filter changes nothing in how far halves agree, and only before it is noise white.
        even, odd = halves.block(one, device, deconvolves=False)
        inside = [half[one.inside].double() for half in (even, odd)]
        total += sum(float(part.sum()) for part in inside)
        count += sum(part.numel() for part in inside)
        window = fading(even.shape, margin, device) if margin else 1.0
        pairs.append(tuple((half - half.mean()) * window for half in (even, odd)))
    if halves.paired:
        agreement = agreement_of([(even, odd) for even, odd in pairs], halves.wedge)
    else:
        agreement = signal_share([even for even, _ in pairs], halves.wedge)
    best = float(agreement.values.max())
    voxels = sum(
        summed(shares(even.shape) * wedge_weight(halves.wedge, even.shape), shell_index(even.shape)) / 2
        for even, _ in pairs
    )
    # By chance alone N pairs of voxels correlate by one over the root of N.
    if best < _HALVES_AGREE or float((agreement.values * torch.as_tensor(voxels).sqrt()).max()) < _NOT_BY_CHANCE:
        paths = f"{halves.even.path} and {halves.odd.path}" if halves.paired else str(halves.even.path)
        why = "the halves agree in nothing" if halves.paired else "nothing rises above its noise"
        raise InputInvalid(
            f"{paths}: {why} (at best {best:.2f} of 1), so there is no signal to go by; give the two halves of one "
            "tomogram, or leave this row out by 'tomo_idx'"
        )
    return _Measured(agreement, total / max(1, count), halves.paired, halves.shape)


def _level(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    return float(torch.stack([half.double().mean() for pair in pairs for half in pair]).mean())


def _scale(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], evidence: SignalEvidence, margin: int) -> float:
    """The deviation of what a Wiener filter leaves."""
    kept = [evidence.offset - wiener(even, odd, evidence, margin) for even, odd in pairs]
    raw = [((even + odd) / 2).std() for even, odd in pairs]
    found = float(torch.stack([one.std() for one in kept]).mean())
    return max(found, _TOO_SMALL * float(torch.stack(raw).mean()), 1e-30)


def _best(halves: HalvesOfTomogram, cut: list[VolumeBlock], count: int, *, within_mask: bool) -> list[VolumeBlock]:
    """The blocks to learn from: with the most of the mask, else nearest to the middle."""
    ordered = middle_first(cut, halves.shape)
    if not within_mask or halves.tomogram.mask is None or len(cut) <= count:
        return ordered[:count]
    with opened_mask(halves.tomogram, halves.shape) as mask:
        if mask is None:
            return ordered[:count]
        shares = [float((mask.window(*(slice(*span) for span in one.kept)) > 0).mean()) for one in ordered]
    if max(shares) == 0:
        raise InputInvalid(
            f"{halves.tomogram.mask}: the mask is empty; make it anew with a larger density_percentage, or choose "
            "'within_mask: false'"
        )
    by_share = sorted(range(len(ordered)), key=lambda index: -shares[index])
    return [ordered[index] for index in by_share[:count]]
