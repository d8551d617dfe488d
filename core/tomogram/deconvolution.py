"""Contrast of a tomogram brought back at low resolution: a Wiener filter with a CTF of one defocus and a model SNR.

The filter is that of Warp, with the parameters of IsoNet's `deconv`: for x, the spatial frequency in parts of Nyquist,

    highpass = 1 - cos(pi min(1, x / highpass_nyquist))
    SNR = exp(-100 snr_falloff x / pixel_size_A) 10^strength highpass + 1e-6
    W = CTF / (CTF^2 + 1 / SNR)

Warp and its followers have 10^(3 strength): a strength of 3 here is 1 there.

References
----------
Tegunov & Cramer, "Real-time cryo-electron microscopy data preprocessing with Warp", Nat. Methods 16 (2019),
doi:10.1038/s41592-019-0580-y; Liu et al., "Isotropic reconstruction for electron tomography with deep learning",
Nat. Commun. 13 (2022), doi:10.1038/s41467-022-33957-8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .low_band import CoarseGrid, coarse_grid, coarsened, interpolated, remainder_weight
from .volume_blocks import Spans, VolumeBlock, blocks, mirrored_places

_POINTS = 2048
"""Of the curve from 0 to Nyquist, between which the filter is interpolated."""
_LEAST_SNR = 1e-6
_LEAST_MARGIN, _WHOLE_MARGIN = 32, 48
"""Voxels beyond a block, and beyond the whole where it is one block."""


@dataclass(frozen=True)
class DeconvolutionFilter:
    """What decides the filter.

    Attributes
    ----------
    defocus_A
        Underfocus positive, of the tilt of 0 degrees.
    phase_shift_deg
        Of a phase plate.
    snr_falloff, strength, highpass_nyquist
        The model of the SNR: how fast it falls with frequency, its level (decades), and below which part of Nyquist it
        is taken away.
    phase_flipped
        Whether the tilts' phases were flipped before: the CTF's absolute value is taken.
    """

    pixel_size_A: float
    defocus_A: float
    voltage_kV: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.07
    phase_shift_deg: float = 0.0
    snr_falloff: float = 1.0
    strength: float = 1.0
    highpass_nyquist: float = 0.02
    phase_flipped: bool = False


def ctf_curve(parameters: DeconvolutionFilter, part_of_nyquist: Tensor) -> Tensor:
    """The CTF at frequencies (...,) in parts of Nyquist, float64, positive at low ones so that contrast stays."""
    volt = 1e3 * parameters.voltage_kV
    wavelength_A = 12.2643247 / math.sqrt(volt * (1.0 + 0.978466e-6 * volt))
    squared = (part_of_nyquist.double() / (2.0 * parameters.pixel_size_A)).square()
    aberration = wavelength_A**3 * 1e7 * parameters.cs_mm * squared.square()
    chi = (math.pi / 2) * (aberration - 2.0 * wavelength_A * parameters.defocus_A * squared)
    chi = chi - math.radians(parameters.phase_shift_deg)
    amplitude = parameters.amplitude_contrast
    return amplitude * chi.cos() - math.sqrt(1.0 - amplitude**2) * chi.sin()


def wiener_curve(parameters: DeconvolutionFilter, part_of_nyquist: Tensor) -> Tensor:
    """The filter's value at frequencies (...,) in parts of Nyquist, float64 of the same shape."""
    at = part_of_nyquist.double()
    highpass = 1.0 - torch.cos(math.pi * (at / parameters.highpass_nyquist).clamp(max=1.0))
    falloff = torch.exp(-100.0 * parameters.snr_falloff * at / parameters.pixel_size_A)
    snr = falloff * 10.0**parameters.strength * highpass + _LEAST_SNR
    ctf = ctf_curve(parameters, at)
    if parameters.phase_flipped:
        ctf = ctf.abs()
    found: Tensor = ctf / (ctf.square() + 1.0 / snr)
    return found


def deconvolution_weight(
    shape: tuple[int, int, int], parameters: DeconvolutionFilter, device: torch.device | None = None, step: int = 1
) -> Tensor:
    """The filter on half of the transform of a volume (z, y, x), float32 (z, y, x // 2 + 1).

    Each axis is scaled by its own Nyquist, corners beyond it have its value, and between 2048 points the curve is
    interpolated linearly. With a `step` the volume holds every so many voxels of the one that is filtered.
    """
    z, y = (torch.fft.fftfreq(size, 0.5, device=device).square() for size in shape[:2])
    x = torch.fft.rfftfreq(shape[2], 0.5, device=device).square()
    distance = (z[:, None, None] + y[:, None] + x).sqrt_().div_(step).clamp_(max=1.0).mul_(_POINTS - 1)
    curve = wiener_curve(parameters, torch.linspace(0.0, 1.0, _POINTS, dtype=torch.float64)).float().to(distance.device)
    below = distance.floor().clamp_(max=_POINTS - 2)
    part = distance.sub_(below)
    at = below.long()
    return torch.lerp(curve[at], curve[at + 1], part)


def filtered_by(volume: Tensor, weight: Tensor) -> Tensor:
    """A volume (z, y, x) whose transform is multiplied by half a filter (z, y, x // 2 + 1); float32."""
    spectrum = torch.fft.rfftn(volume.float())
    spectrum *= weight
    found: Tensor = torch.fft.irfftn(spectrum, s=volume.shape)
    return found


class BlockDeconvolution:
    """A tomogram deconvolved block by block, or as one block.

    A transform takes what it gets for periodic, which would bring the top into the bottom: the tomogram is mirrored at
    its borders instead, and blocks are read with a margin. The filter's low end reaches farther than any margin, so
    where there are several blocks the lowest frequencies are done first, for all of the tomogram on a coarse grid. The
    scale is for whoever puts the blocks together to find, one for all.

    Parameters
    ----------
    shape
        Of the tomogram, (z, y, x).
    parameters
        Of the filter.
    chunk
        Longest side of a block; all at once without one.
    overlap_rate
        By which part of its side a block is read larger, half of it at each end, but never less than 32 voxels.
    device
        To compute on.

    Attributes
    ----------
    coarse_parts
        What is to be read for the coarse grid, part by part: (part of the grid, what of the mirrored tomogram).
    blocks
        What is to be read and made then.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        parameters: DeconvolutionFilter,
        chunk: int | None = None,
        overlap_rate: float = 0.25,
        device: torch.device | None = None,
    ) -> None:
        self._parameters, self._device = parameters, device or torch.device("cpu")
        self.blocks = deconvolution_blocks(shape, chunk, overlap_rate)
        self.coarse_parts: list[tuple[Spans, Spans]] = []
        self._weight: Tensor | None = None
        self._weight_for = (0, 0, 0)
        self._grid: CoarseGrid | None = None
        if chunk is not None and len(self.blocks) > 1:
            self._grid = coarse_grid(shape)
            side = max(8, chunk // self._grid.step)
            parts = blocks(self._grid.shape, (side,) * 3, (0, 0, 0))
            self.coarse_parts = [(part.kept, self._grid.read(part.kept)) for part in parts]
            self._coarse = torch.zeros(self._grid.shape)

    def take_coarse(self, part: Spans, read: Tensor) -> None:
        """Take what was read, (nz, ny, nx), for a part of the coarse grid."""
        z, y, x = (slice(*span) for span in part)
        if self._grid is not None:
            self._coarse[z, y, x] = coarsened(read.to(self._device), self._grid).cpu()

    def filter_coarse(self) -> None:
        """Filter the coarse grid, once all of it was taken."""
        if self._grid is not None:
            coarse = self._coarse.to(self._device)
            weight = deconvolution_weight(self._grid.shape, self._parameters, self._device, self._grid.step)
            self._coarse = filtered_by(coarse, weight)

    def filtered(self, block: VolumeBlock, read: Tensor) -> Tensor:
        """What is kept of a block that was read, (nz, ny, nx) float32 on the device.

        Any block with a margin will do; the filter is made anew where one is read in another size than that before it.
        """
        sides = (read.shape[0], read.shape[1], read.shape[2])
        if self._weight is None or self._weight_for != sides:
            self._weight_for = sides
            self._weight = deconvolution_weight(sides, self._parameters, self._device)
            if self._grid is not None:
                self._weight *= remainder_weight(sides, self._grid, self._device)
        found = filtered_by(read.to(self._device), self._weight)[block.inside]
        return found if self._grid is None else found + interpolated(self._coarse, self._grid, block.kept)


def deconvolution_blocks(
    shape: tuple[int, int, int], chunk: int | None = None, overlap_rate: float = 0.25
) -> list[VolumeBlock]:
    """The blocks of a `BlockDeconvolution`, all read in one size."""
    if chunk is None:
        return list(blocks(shape, shape, (_WHOLE_MARGIN,) * 3, fast=True))
    margin = max(_LEAST_MARGIN, math.ceil(chunk * overlap_rate / 2))
    return list(blocks(shape, (chunk,) * 3, (margin,) * 3, fast=True))


def deconvolved(
    volume: Tensor, parameters: DeconvolutionFilter, chunk: int | None = None, overlap_rate: float = 0.25
) -> Tensor:
    """A tomogram (nz, ny, nx), deconvolved, with the mean and the deviation that it had; float32, on its device.

    See `BlockDeconvolution` for the parameters.
    """
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])

    def read(spans: Spans) -> Tensor:
        found = volume.float()
        for axis, (start, stop) in enumerate(spans):
            found = found.index_select(axis, mirrored_places(start, stop, shape[axis]).to(volume.device))
        return found

    steps = BlockDeconvolution(shape, parameters, chunk, overlap_rate, volume.device)
    for part, spans in steps.coarse_parts:
        steps.take_coarse(part, read(spans))
    steps.filter_coarse()
    found = torch.empty(shape, device=volume.device)
    for block in steps.blocks:
        z, y, x = (slice(*span) for span in block.kept)
        found[z, y, x] = steps.filtered(block, read(block.read))
    before, after = volume.double(), found.double()
    gain = before.std(correction=0) / after.std(correction=0).clamp_min(1e-30)
    return ((after - after.mean()) * gain + before.mean()).float()
