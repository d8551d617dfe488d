"""Backprojection: images put back as slices, their CTF divided out, in one map and two half-maps."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .disc import HalfDisc
from .slices import SliceSums, slice_points, volume_of_grid

CtfUse = Literal["multiply", "flip"]
"""multiply: sums of C Y over sums of C^2, least squares. flip: phases flipped only, sums of sign(C) Y over counts."""

_POINTS_AT_ONCE = 1 << 20
"""Or an eighth of the voxels, where there are more of these: each addition goes once over the whole grid."""
_IMAGINARY = 1
_LEAST = 0.1
_TRIED = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
"""Regularisations of a half-map: below the first noise blows up, past the last counts hardly matter."""


class HalfSums:
    """Sums of the images of two half-sets, from which a map and two half-maps are made.

    Parameters
    ----------
    box
        Of the maps, in voxels; that of the images, or a smaller one for low frequencies only.
    ctf_use
        What is done with the CTF.
    """

    def __init__(self, box: int, ctf_use: CtfUse = "multiply", device: torch.device | str | None = None) -> None:
        self.box = box
        self.ctf_use = ctf_use
        self.halves = (SliceSums(box, device=device), SliceSums(box, device=device))

    def add(
        self,
        disc: HalfDisc,
        spectra: Tensor,
        ctf: Tensor,
        rotations: Tensor,
        half: Tensor,
        weights: Tensor | None = None,
    ) -> None:
        """Put images back.

        Parameters
        ----------
        spectra
            (N, M) recentred.
        ctf
            (N, M).
        rotations
            (N, 3, 3), object to view.
        half
            (N,) 0 or 1: which half-set.
        weights
            (N, M) or (N, 1), such as those of dose and tilt; 1 if None.
        """
        step = max(1, max(_POINTS_AT_ONCE, self.box**3 // 8) // max(1, len(disc)))
        for number, sums in enumerate(self.halves):
            members = (half == number).nonzero().flatten()
            for some in torch.split(members, step):
                weight = None if weights is None else weights[some]
                values = self._values(spectra[some], ctf[some], weight)
                sums.add(slice_points(disc, rotations[some]), values, _IMAGINARY)

    def _values(self, spectra: Tensor, ctf: Tensor, weights: Tensor | None) -> Tensor:
        """What each pixel adds, (N, M, 3): real and imaginary part, and its count."""
        factor = ctf if self.ctf_use == "multiply" else torch.sign(ctf)
        count = factor * ctf if self.ctf_use == "multiply" else torch.ones_like(ctf)
        if weights is not None:
            factor, count = factor * weights, count * weights
        return torch.stack([spectra.real * factor, spectra.imag * factor, count], dim=2)

    def grids(self) -> tuple[Tensor, Tensor]:
        """The sums of each half-set, (3, box, box, box // 2 + 1): real and imaginary parts, counts."""
        return self.halves[0].grid(_IMAGINARY), self.halves[1].grid(_IMAGINARY)


def spectrum_of_sums(grid: Tensor, regularisation: float = 1.0) -> Tensor:
    """The spectrum (n, n, n // 2 + 1) of sums (3, n, n, n // 2 + 1), DC first.

    Parameters
    ----------
    regularisation
        This many mean counts are added to the counts, which are then scaled back to their mean, so that voxels that
        are hardly measured do not blow up.

    Notes
    -----
    With s the sums and c the counts: s / ((c + r mean(c)) mean(c) / mean(c + r mean(c))), as cryoDRGN has it. The scale
    1 + r is taken off what is well measured, so projections of the map are in the units of the images where c is even.
    """
    counts = grid[2]
    mean = counts.mean()
    regularised = (counts + regularisation * mean) / (1.0 + regularisation)
    values = torch.complex(grid[0], grid[1])
    return torch.where(regularised > 0, values / regularised.clamp(min=1e-30), torch.zeros_like(values))


def volume_of_sums(grid: Tensor, regularisation: float = 1.0) -> Tensor:
    """The map (n, n, n) in z, y, x of sums (3, n, n, n // 2 + 1); see `spectrum_of_sums`."""
    return volume_of_grid(spectrum_of_sums(grid, regularisation), grid.shape[1])


def best_regularisation(grids: tuple[Tensor, Tensor], inside: Tensor) -> float:
    """The regularisation with which a half-map comes closest to the other one, made ready for both together.

    Parameters
    ----------
    grids
        Sums (3, n, n, n // 2 + 1) of two half-sets.
    inside
        (n, n, n) True where there is density.

    Notes
    -----
    The noise of the other half-map is independent, so what agrees with it best agrees with the truth best. What is
    added to the counts is the same for both half-sets together, whose counts are twice as large, so half of it.
    """
    references = [volume_of_sums(grid, _LEAST)[inside] for grid in grids]
    agreement = [
        sum(
            _correlation(volume_of_sums(grid, value)[inside], reference)
            for grid, reference in zip(grids, reversed(references), strict=True)
        )
        for value in _TRIED
    ]
    return _TRIED[agreement.index(max(agreement))] / 2


def _correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.double(), second.double()])).nan_to_num()[0, 1])


def exposure_weights(
    disc: HalfDisc, pixel_size_A: float, dose_e_A2: Tensor, tilt_deg: Tensor, voltage_kV: Tensor
) -> Tensor:
    """How much images of a tilt series count by frequency, (N, M).

    Parameters
    ----------
    dose_e_A2, tilt_deg
        (N,) dose before each image, and angle of the stage.
    voltage_kV
        (N,) of the microscope.

    Notes
    -----
    exp(-N / (2 Nc)) cos(tilt) with the critical dose Nc = 0.245 k^-1.665 + 2.81, k in 1/A, at 300 kV, and 0.8 of it at
    200 kV; 0 past the dose 2.51284 Nc, beyond which an image adds more noise than signal. Source: Grant & Grigorieff
    2015, doi 10.7554/eLife.06980.
    """
    frequency = disc.radii.double() / (disc.box * pixel_size_A)
    critical = (0.245 * frequency**-1.665 + 2.81)[None, :] * torch.where(voltage_kV < 250, 0.8, 1.0)[:, None]
    dose = dose_e_A2.double()[:, None]
    kept = torch.exp(-0.5 * dose / critical) * (dose <= 2.51284 * critical)
    return (kept * torch.cos(torch.deg2rad(tilt_deg.double()))[:, None]).float()
