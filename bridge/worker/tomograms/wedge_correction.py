"""One tomogram corrected block by block and written as it goes: no more than a block of it is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from cryobridge.core.tomogram import (
    COUNT,
    NAME,
    Answer,
    CrossPower,
    Curve,
    DirectionalPower,
    TomogramBlock,
    VolumeBlock,
    block_of,
    corrected,
    filled_agreement,
    filled_spread,
    held_out_score,
    mean_answer,
    noise_filling,
    rejoined,
)
from cryobridge.core.training import Learned, runner
from cryobridge.schemas.tomogram_tables import StoredType
from cryobridge.schemas.wedge import WedgeOptions
from cryobridge.wrappers.formats.volume_writer import VolumeWriter, stored_type

from ..jobs.context import Context
from ..loop import Progress
from .ghost_words import ghost_numbers
from .halves import HalvesOfTomogram, blended, blocks_of, middle_first, opened_halves
from .made_notes import MadeTomogram
from .row_steps import RowSteps
from .wedge_evidence import Opener, TomogramEvidence

CORRECTED = "rlnCorrectedTomoName"
_JUDGED = 1
"""Blocks of a tomogram, nearest to its middle, that are asked how well its held-out wedge was filled."""


@dataclass
class _Amounts:
    """Power of a result in the measured (`first`) and in the missing part (`second`), and voxels of both, by shell."""

    power: CrossPower = field(default_factory=CrossPower.none)
    voxels: CrossPower = field(default_factory=CrossPower.none)

    def add(self, block: TomogramBlock, spectrum: torch.Tensor) -> None:
        measured, missing = block.weight.sqrt(), (1 - block.weight).sqrt()
        self.power.add(spectrum * measured, spectrum * missing, block.shape)
        self.voxels.add(measured, missing, block.shape)

    def filled(self) -> list[float]:
        """Amplitude of the missing over that of the measured part, by shell; 0 where either has nothing."""
        inside = self.power.first / self.voxels.first.clamp(min=1e-30)
        outside = self.power.second / self.voxels.second.clamp(min=1e-30)
        ratio = (outside / inside.clamp(min=1e-30)).sqrt()
        told = (self.voxels.first > 0) & (self.voxels.second > 0) & (inside > 0)
        return [round(float(value), 4) for value in torch.where(told, ratio, torch.zeros_like(ratio))]

    def overall(self, factor: int) -> float:
        """The same from 0.02 to 0.25 cycles per voxel of the tomogram; 1 of what has no direction of its own."""
        middles = (torch.arange(COUNT) + 0.5) / 64 / factor
        counted = (middles > 0.02) & (middles < 0.25)
        inside, outside = (
            float(power[counted].sum() / voxels[counted].sum().clamp(min=1e-30))
            for power, voxels in ((self.power.first, self.voxels.first), (self.power.second, self.voxels.second))
        )
        return (outside / inside) ** 0.5 if inside > 0 else 0.0


def corrected_tomogram(
    one: TomogramEvidence,
    learned: Learned,
    wedge: WedgeOptions,
    output_type: StoredType,
    context: Context,
    opened: Opener = opened_halves,
    prefix: str = "",
    more: Sequence[Learned] = (),
) -> RowSteps:
    """Write a corrected tomogram; what is known of it is in the notes.

    Where there are more networks, the means of their answers and the first one's are used.
    """
    name = f"{prefix}{one.tomogram.name}_corrected.mrc"
    with ExitStack() as held:
        halves = held.enter_context(opened(one.tomogram, one.wedge))
        networks = [held.enter_context(answering(each, wedge, context.device)) for each in (learned, *more)]
        network = mean_answer(networks)
        cut, margin = blocks_of(halves, one.evidence.factor)
        yield Progress("holding sectors out", 0.02)
        numbers = _judged(one, networks, halves, middle_first(cut, halves.shape)[:_JUDGED], margin, context.device)
        kind = stored_type(halves.header.dtype) if output_type == "input" else output_type
        amounts, directions = _Amounts(), DirectionalPower()
        with context.folder.writing(name) as descriptor:
            writer = VolumeWriter(descriptor, halves.header, kind, name, scaled_later=margin > 0)
            for number, part in enumerate(cut):
                even, odd = halves.block(part, context.device)
                block = block_of(even, odd, one.wedge, one.evidence, margin, halves.transfer)
                found = corrected(network, block, one.evidence)
                amounts.add(block, found.spectrum)
                directions.add(block, found.spectrum, one.evidence)
                result = rejoined(found, even, odd, block, one.evidence, margin).cpu()
                if margin == 0:
                    writer.put(0, 0, 0, result.numpy())
                else:
                    shared = blended(part, halves.shape, margin)
                    writer.add(*shared.start, (result[shared.inside] * shared.weight).numpy(), shared.stands_for)
                yield Progress(f"part {number + 1} of {len(cut)}", 0.1 + 0.9 * (number + 1) / len(cut))
            writer.finish()
        numbers |= {
            "pixel_size_A": halves.header.voxel_size_A[0],
            "parts": len(cut),
            "filled": amounts.filled(),
            "fill": round(amounts.overall(one.evidence.factor), 4),
            **ghost_numbers(directions.ratios(one.evidence)),
        }
    remarks = [f"{one.tomogram.name}: {writer.clipped} voxels are beyond int8 and were set to its ends."]
    return MadeTomogram([name], {}, {CORRECTED: name}, numbers, remarks if writer.clipped else [])


def _judged(
    one: TomogramEvidence,
    networks: Sequence[Answer],
    halves: HalvesOfTomogram,
    parts: Sequence[VolumeBlock],
    margin: int,
    device: torch.device,
) -> dict[str, Any]:
    """How well sectors that were held out are filled, and what noise alone would fill in."""
    evidence, network = one.evidence, mean_answer(networks)
    blocks = [block_of(*halves.block(part, device), one.wedge, evidence, margin, halves.transfer) for part in parts]
    score = held_out_score(network, blocks, evidence)
    both = filled_agreement(network, blocks) if evidence.paired else None
    noise = noise_filling(network, blocks, evidence) if evidence.paired else None
    spread = filled_spread(networks, blocks, evidence) if len(networks) > 1 else None
    return {
        "factor": evidence.factor,
        "paired": evidence.paired,
        "sectors_deg": [list(sector) for sector in one.wedge.sectors_deg],
        "agreement": _rounded(evidence.agreement),
        "held_out": None if score.score is None else round(score.score, 4),
        "held_out_amplitude": None if score.power_ratio is None else round(score.power_ratio, 4),
        "held_out_curve": _rounded(score.curve),
        "held_out_agreement": _rounded(score.agreement),
        "filled_agreement": None if both is None else _rounded(both),
        "noise_filling": None if noise is None else round(noise, 4),
        "spread": None if spread is None else round(spread, 4),
    }


def _rounded(curve: Curve) -> list[float]:
    return [round(float(value), 4) for value in curve.values]


@contextmanager
def answering(learned: Learned, wedge: WedgeOptions, device: torch.device) -> Iterator[Answer]:
    """The network with its averaged weights, in float32."""
    with learned.named[NAME].averaged(wedge) as network:
        yield runner(network, wedge.model_copy(update={"precision": "float32"}), device)
