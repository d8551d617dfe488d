"""What the tomograms of a job tell of their signal, before anything is learned, and blocks to learn from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from cryobridge.core.tomogram import (
    Block,
    Curve,
    Evidence,
    VolumeBlock,
    Wedge,
    agreement_of,
    block_of,
    fading,
    reduction,
    signal_share,
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
_TOO_SMALL = 1e-3


@dataclass(frozen=True)
class TomogramEvidence:
    """One tomogram, what is known of its signal, and whether it was taken whole."""

    tomogram: Tomogram
    wedge: Wedge
    evidence: Evidence
    margin: int


Opener = Callable[[Tomogram, Wedge], AbstractContextManager[HalvesOfTomogram]]


def gathered(
    rows: Sequence[tuple[Tomogram, Wedge]],
    device: torch.device,
    least_side: int,
    *,
    use_mask: bool,
    opened: Opener = opened_halves,
    factor: int | None = None,
) -> Generator[Progress, None, tuple[list[TomogramEvidence], list[Block]]]:
    """Measure every tomogram, and prepare blocks to learn from.

    Parameters
    ----------
    rows
        Each with its wedge.
    least_side
        Of a training cube, in reduced voxels.
    use_mask
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
    # One network for all of them sees one voxel size, fine enough for the best.
    factor = factor or min(reduction(one[0]) for one in measured)
    found: list[TomogramEvidence] = []
    learned_from: list[Block] = []
    each = max(1, _LEARNED_FROM // len(rows))
    for number, ((tomogram, wedge), (agreement, offset, paired)) in enumerate(zip(rows, measured, strict=True)):
        yield Progress(f"{tomogram.name}: preparing", 0.5 + number / (2 * len(rows)))
        with opened(tomogram, wedge) as halves:
            cut, margin = blocks_of(halves, factor)
            chosen = _best(halves, cut, each, use_mask=use_mask)
            evidence = Evidence(agreement, factor, offset, 1.0, paired)
            pairs = [halves.block(one, device) for one in chosen]
            evidence = Evidence(agreement, factor, offset, _scale(pairs, evidence, margin), paired)
            found.append(TomogramEvidence(tomogram, wedge, evidence, margin))
            if len(learned_from) < _LEARNED_FROM:
                made = [block_of(*pair, wedge, evidence, margin, halves.transfer) for pair in pairs]
                learned_from += [one for one in made if min(one.shape) - 2 * one.margin >= least_side]
    if not learned_from:
        raise InputInvalid(
            f"{rows[0][0].source}: no tomogram holds a cube of {least_side} voxels once it is reduced by {factor}; "
            "choose a smaller 'cube_size'"
        )
    return found, learned_from


def _measured(halves: HalvesOfTomogram, device: torch.device) -> tuple[Curve, float, bool]:
    """How far halves agree, the mean grey value, and whether there are two."""
    cut, margin = blocks_of(halves, 1)
    chosen = middle_first(cut, halves.shape)[:_ASKED]
    total, count, pairs = 0.0, 0, []
    for one in chosen:
        even, odd = halves.block(one, device)
        inside = [half[one.inside].double() for half in (even, odd)]
        total += sum(float(part.sum()) for part in inside)
        count += sum(part.numel() for part in inside)
        window = fading(even.shape, margin, device) if margin else 1.0
        pairs.append(tuple((half - half.mean()) * window for half in (even, odd)))
    if halves.paired:
        agreement = agreement_of([(even, odd) for even, odd in pairs], halves.wedge)
    else:
        agreement = signal_share([even for even, _ in pairs], halves.wedge)
    if float(agreement.values[1:].max()) < _HALVES_AGREE:
        paths = f"{halves.even.path} and {halves.odd.path}" if halves.paired else str(halves.even.path)
        why = "the halves agree in nothing" if halves.paired else "nothing rises above its noise"
        raise InputInvalid(
            f"{paths}: {why} (at best {float(agreement.values[1:].max()):.2f} of 1), so there is no signal to go by; "
            "give the two halves of one tomogram, or leave this row out by 'tomo_idx'"
        )
    return agreement, total / max(1, count), halves.paired


def _scale(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], evidence: Evidence, margin: int) -> float:
    """The deviation of what a Wiener filter leaves."""
    kept = [evidence.offset - wiener(even, odd, evidence, margin) for even, odd in pairs]
    raw = [((even + odd) / 2).std() for even, odd in pairs]
    found = float(torch.stack([one.std() for one in kept]).mean())
    return max(found, _TOO_SMALL * float(torch.stack(raw).mean()), 1e-30)


def _best(halves: HalvesOfTomogram, cut: list[VolumeBlock], count: int, *, use_mask: bool) -> list[VolumeBlock]:
    """The blocks to learn from: with the most of the mask, else nearest to the middle."""
    ordered = middle_first(cut, halves.shape)
    if not use_mask or halves.tomogram.mask is None or len(cut) <= count:
        return ordered[:count]
    with opened_mask(halves.tomogram, halves.shape) as mask:
        if mask is None:
            return ordered[:count]
        shares = [float((mask.window(*(slice(*span) for span in one.kept)) > 0).mean()) for one in ordered]
    if max(shares) == 0:
        raise InputInvalid(
            f"{halves.tomogram.mask}: the mask is empty; make it anew with a larger density_percentage, or choose "
            "'use_mask: false'"
        )
    by_share = sorted(range(len(ordered)), key=lambda index: -shares[index])
    return [ordered[index] for index in by_share[:count]]
