"""Blocks of a tomogram as a training sees them: both halves, what of them can be believed, and their wedge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..directional import MOST_SIGNAL
from .band import cropped
from .sharpening import sharpening
from .shells import CrossPower, Curve, radius, shell_means
from .transfer import ContrastTransfer
from .wedge import Wedge, filtered, wedge_weight

_LEAST_POWER = 0.02
"""Of the largest shell mean: keeps the weight of nearly empty shells finite."""
_ROOM = 4 / 3
"""There is still something to be filled in beyond."""
_NOISE_SHELLS = 4
_END = 1 / 3
"""Where two halves agree less, their mean holds more noise than signal."""


@dataclass(frozen=True)
class TomogramBlock:
    """Part of a tomogram, reduced to the band that holds something.

    Attributes
    ----------
    halves
        (2, z, y, x): even and odd, bright where dense, of unit scale; twice the same where there is one map only.
    seen
        The same, each shell times how far the halves agree in it: what a network is shown.
    weight
        Of the wedge, (z, y, x // 2 + 1).
    emphasis
        Of each shell in the loss, mean 1.
    wedge
        Of the tomogram.
    margin
        Voxels at each face that are faded or mirrored, and in which nothing is learned.
    transfer
        How much weaker than the specimen the data are, where a network answers with the specimen itself; at the
        block's own voxels.
    """

    halves: Tensor
    seen: Tensor
    weight: Tensor
    emphasis: Curve
    wedge: Wedge
    margin: int = 0
    transfer: ContrastTransfer | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Its sides."""
        z, y, x = self.halves.shape[-3:]
        return z, y, x

    def to(self, device: torch.device | str) -> TomogramBlock:
        """The same on another device."""
        halves, seen, weight = (one.to(device) for one in (self.halves, self.seen, self.weight))
        return TomogramBlock(halves, seen, weight, self.emphasis, self.wedge, self.margin, self.transfer)


@dataclass(frozen=True)
class SignalEvidence:
    """What the halves of a tomogram tell of its signal.

    Attributes
    ----------
    agreement
        Their correlation by shell in the measured region, 0 to .999; where there is one map only, the share of its
        power that is signal.
    factor
        By which the tomogram may be reduced without losing what they agree on.
    offset, scale
        Of the grey values: a block shown to a network is -(grey - offset) / scale.
    paired
        Whether there are two halves with noise of their own.
    bfactor_px2
        By which what is read is sharpened, in squared voxels of the files; see `sharpening`.
    """

    agreement: Curve
    factor: int
    offset: float
    scale: float
    paired: bool = True
    bfactor_px2: float = 0.0

    @property
    def gain(self) -> Curve:
        """The Wiener filter of all the data: of the mean of both halves, or of the one map."""
        return joined_gain(self.agreement) if self.paired else self.agreement

    def reduced_gain(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """The Wiener filter at the frequencies of a reduced block, (z, y, x // 2 + 1) for sides (z, y, x)."""
        return self.gain.of(radius(shape, device) / self.factor)

    @property
    def believed_to(self) -> float:
        """The frequency from which on halves agree by less than a third, in cycles per voxel of the files."""
        return self.agreement.last_above(_END)

    def signal(self, grey: Tensor, margin: int = 0) -> Tensor:
        """A block (nz, ny, nx) of a file, bright where dense, of unit scale, sharpened, faded over half its margin."""
        found = (self.offset - grey) / self.scale
        if self.bfactor_px2 > 0:
            found = filtered(found, sharpening(grey.shape, self.bfactor_px2, self.believed_to, grey.device))
        return found * fading(grey.shape, margin, grey.device) if margin > 0 else found

    def grey(self, signal: Tensor) -> Tensor:
        """The way back, but for fading and sharpening, of a block (nz, ny, nx)."""
        return self.offset - self.scale * signal


def fading(shape: Sequence[int], margin: int, device: torch.device | str = "cpu") -> Tensor:
    """A window (nz, ny, nx) that rises from 0 at the faces to 1 at half a margin, as a cosine."""
    lines = []
    for side in shape:
        steps = torch.arange(side, device=device) + 0.5
        lines.append(0.5 - 0.5 * torch.cos(math.pi * (torch.minimum(steps, side - steps) / (margin / 2)).clamp(0, 1)))
    z, y, x = lines
    return z[:, None, None] * y[None, :, None] * x[None, None, :]


def agreement_of(pairs: Sequence[tuple[Tensor, Tensor]], wedge: Wedge) -> Curve:
    """How far two halves agree in the measured region, by shell and at least 0.

    Parameters
    ----------
    pairs
        Blocks of the even and of the odd tomogram, (nz, ny, nx) each, faded at their faces where they are cut out.
    """
    sums = CrossPower.none()
    for even, odd in pairs:
        weight = wedge_weight(wedge, even.shape, device=even.device)
        first, second = (torch.fft.rfftn(one - one.mean()) for one in (even, odd))
        sums.add(first, second, even.shape, weight)
    return Curve(sums.correlation().values.clamp(0, MOST_SIGNAL))


def signal_share(volumes: Sequence[Tensor], wedge: Wedge) -> Curve:
    """Which share of the power of one map is signal in the measured region, by shell.

    There is no second half to ask: noise is taken to be white, as strong as all that is in the highest shells.

    Parameters
    ----------
    volumes
        Blocks of the tomogram, (nz, ny, nx) each, faded at their faces where they are cut out.
    """
    sums, counts = CrossPower.none(), CrossPower.none()
    for volume in volumes:
        weight = wedge_weight(wedge, volume.shape, device=volume.device)
        spectrum = torch.fft.rfftn(volume - volume.mean(), norm="ortho")
        sums.add(spectrum, spectrum, volume.shape, weight)
        ones = torch.ones_like(spectrum)
        counts.add(ones, ones, volume.shape, weight)
    power = sums.first / counts.first.clamp(min=1e-30)
    floor = power[-_NOISE_SHELLS:].mean()
    return Curve((1 - floor / power.clamp(min=1e-30)).clamp(0, MOST_SIGNAL))


def reduction(agreement: Curve, most: int = 4) -> int:
    """The largest whole factor that keeps every shell in which the halves agree, and a third more beyond."""
    end = _ROOM * agreement.last_above(_END)
    return max(1, min(most, math.floor(0.5 / max(end, 0.5 / most) + 1e-6)))


def joined_gain(agreement: Curve) -> Curve:
    """The Wiener filter of the mean of both halves, 2 F / (1 + F)."""
    return Curve(2 * agreement.values / (1 + agreement.values))


def block_of(
    even: Tensor,
    odd: Tensor,
    wedge: Wedge,
    evidence: SignalEvidence,
    margin: int = 0,
    transfer: ContrastTransfer | None = None,
) -> TomogramBlock:
    """Prepare a block (nz, ny, nx) of both halves as they are in their files; sides divide by 8 times the factor.

    Parameters
    ----------
    even, odd
        The same map twice where there is only one.
    margin
        In voxels of the files.
    transfer
        Where the network is to undo it: that of the tomogram, whose phases were flipped.
    """
    factor, shape = evidence.factor, even.shape
    small = [side // factor for side in shape]
    weight = wedge_weight(wedge, small, device=even.device)
    spectra = torch.stack(
        [cropped(torch.fft.rfftn(evidence.signal(one, margin)), shape, factor) for one in (even, odd)]
    )
    spectra = spectra * weight
    filter_of_half = evidence.agreement.of(radius(small, even.device) / factor)
    back = [torch.fft.irfftn(one, s=small, dim=(-3, -2, -1)) for one in (spectra, spectra * filter_of_half)]
    power = shell_means(spectra.abs().square().mean(0), small, weight).values
    agreement = torch.tensor([_at(evidence.agreement, (shell + 0.5) / 64 / factor) for shell in range(len(power))])
    return TomogramBlock(
        back[0],
        back[1],
        weight,
        emphasis_of(agreement, power),
        wedge,
        -(-margin // factor),
        None if transfer is None else transfer.reduced(factor),
    )


def weakened(spectra: Tensor, block: TomogramBlock) -> Tensor:
    """Half spectra (..., z, y, x // 2 + 1) of a network's answers as the data would show them."""
    if block.transfer is None:
        return spectra
    return spectra * block.transfer.magnitude(block.shape, spectra.device)


def emphasis_of(agreement: Tensor, power: Tensor) -> Curve:
    """How much each shell counts in a loss: what is reliable, over how much power there is; mean 1.

    Parameters
    ----------
    agreement, power
        Of both halves, and of one of them, by shell (shells,).
    """
    emphasis = agreement / (power / power.max().clamp(min=1e-30) + _LEAST_POWER)
    return Curve(emphasis / emphasis.mean().clamp(min=1e-30))


def _at(curve: Curve, frequency: float) -> float:
    return float(curve.of(torch.tensor([frequency])))
