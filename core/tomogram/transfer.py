"""The contrast transfer of a tomogram as a training knows it: which frequencies are upside down, and how weak each is.

Every tilt is imaged with the contrast transfer function of its defocus, here one defocus for all of a tomogram. Data
whose phases were flipped hold the specimen times the absolute value of that function; a network whose answer is
weakened in the same way before it is compared with them learns to answer with the specimen itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .deconvolution import DeconvolutionFilter, ctf_curve
from .shells import radius

_POINTS = 4096


@dataclass(frozen=True)
class ContrastTransfer:
    """The contrast transfer of one tomogram.

    Attributes
    ----------
    optics
        Voxel size of the files, defocus, voltage and so on; see `ctf_curve`.
    clips_first_peak
        Below the first maximum nothing is weakened more than there: the lowest frequencies are not asked to grow
        tenfold.
    reduced_by
        How many voxels of the files make one of the volumes that this is for, along each axis.
    """

    optics: DeconvolutionFilter
    clips_first_peak: bool = True
    reduced_by: int = 1

    def reduced(self, factor: int) -> ContrastTransfer:
        """That of a volume reduced by a factor."""
        return dataclasses.replace(self, reduced_by=factor)

    def signs(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """-1 where contrast is upside down and 1 elsewhere, (z, y, x // 2 + 1) float32."""
        values = ctf_curve(self.optics, self._parts(shape, device))
        return torch.where(values < 0, -1.0, 1.0).float()

    def magnitude(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """The absolute value, 0 to 1, (z, y, x // 2 + 1) float32."""
        parts = self._parts(shape, device)
        if self.clips_first_peak:
            parts = parts.clamp(min=self.first_peak())
        return ctf_curve(self.optics, parts).abs().float()

    def flipped(self, volume: Tensor) -> Tensor:
        """A volume (nz, ny, nx) with the contrast of every frequency the right way round; float32."""
        spectrum = torch.fft.rfftn(volume.float()) * self.signs(volume.shape, volume.device)
        found: Tensor = torch.fft.irfftn(spectrum, s=volume.shape)
        return found

    def first_peak(self) -> float:
        """The frequency of the first maximum, in parts of the files' Nyquist; 1 where contrast grows all the way."""
        curve = ctf_curve(self.optics, torch.linspace(0, 1, _POINTS, dtype=torch.float64))
        falls = (curve[1:] < curve[:-1]).nonzero()
        return float(falls[0, 0]) / (_POINTS - 1) if len(falls) else 1.0

    def _parts(self, shape: Sequence[int], device: torch.device | str) -> Tensor:
        """Frequencies in parts of the Nyquist frequency of the files."""
        return radius(shape, device) * 2 / self.reduced_by
