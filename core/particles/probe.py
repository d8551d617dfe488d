"""What a quick, coarse backprojection of some images says of them: contrast, phases, and whether poses fit at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .backprojection import HalfSums, spectrum_of_sums
from .disc import HalfDisc
from .slices import volume_of_grid

_FIRST_SHELL = 3
"""Below it any two averages of blobs agree."""
_SPHERE = 0.45
"""Radius, in boxes, inside which a map's values are looked at."""


@dataclass(frozen=True)
class ImageProbe:
    """Measures of a backprojection of two half-sets.

    Attributes
    ----------
    images
        How many were used.
    skewness, half_skewness
        Of the map inside a sphere, and of each half-map: above 0 where density stands out as bright.
    agreement
        Mean FSC between the half-maps over the shells from the third on.
    flipped
        The same with the CTF taken by its size: higher where phases were flipped in the images already.
    shuffled
        The same with poses dealt out anew: what images agree in that know nothing of their poses.
    """

    images: int
    skewness: float
    half_skewness: tuple[float, float]
    agreement: float
    flipped: float
    shuffled: float


def probed(disc: HalfDisc, spectra: Tensor, ctf: Tensor, rotations: Tensor, generator: torch.Generator) -> ImageProbe:
    """Backproject images and look at the outcome.

    Parameters
    ----------
    disc
        A band of low frequencies is enough.
    spectra, ctf
        (N, M) recentred, of any contrast, N at least 4.
    rotations
        (N, 3, 3), object to view.
    generator
        Deals out poses anew; on the CPU.
    """
    radius = float(disc.radii[-1])
    box = 2 * (int(radius) + 2)
    half = torch.arange(spectra.shape[0], device=spectra.device) % 2
    order = torch.randperm(spectra.shape[0], generator=generator).to(spectra.device)

    def sums(values: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        found = HalfSums(box, device=spectra.device)
        found.add(disc, spectra, values, turns, half)
        return found.grids()

    first, second = sums(ctf, rotations)
    volumes = [volume_of_grid(spectrum_of_sums(grid), box) for grid in (first + second, first, second)]
    skewness, one, other = (_skewness(volume) for volume in volumes)
    return ImageProbe(
        images=spectra.shape[0],
        skewness=skewness,
        half_skewness=(one, other),
        agreement=_mean_fsc((first, second), radius),
        flipped=_mean_fsc(sums(ctf.abs(), rotations), radius),
        shuffled=_mean_fsc(sums(ctf, rotations[order]), radius),
    )


def _skewness(volume: Tensor) -> float:
    box = volume.shape[0]
    axis = torch.arange(box, device=volume.device) - box // 2
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    values = volume[squared <= (_SPHERE * box) ** 2].double()
    values = values - values.mean()
    deviation = values.square().mean().sqrt()
    return float(values.pow(3).mean() / deviation.pow(3)) if float(deviation) > 0 else 0.0


def _mean_fsc(grids: tuple[Tensor, Tensor], radius: float) -> float:
    """Mean over shells of the FSC between the spectra of two sums (3, n, n, n // 2 + 1)."""
    first, second = (spectrum_of_sums(grid) for grid in grids)
    box = first.shape[0]
    whole = torch.fft.fftfreq(box, 1 / box, device=first.device)
    half = torch.arange(box // 2 + 1, device=first.device)
    distance = (whole[:, None, None] ** 2 + whole[None, :, None] ** 2 + half[None, None, :] ** 2).sqrt()
    shell = torch.round(distance).long().flatten()
    last = int(radius)

    def by_shell(values: Tensor) -> Tensor:
        return torch.bincount(shell, values.double().flatten(), minlength=last + 1)[_FIRST_SHELL : last + 1]

    cross = by_shell((first * second.conj()).real)
    power = by_shell(first.abs().square()) * by_shell(second.abs().square())
    curve = torch.where(power > 0, cross / power.clamp(min=1e-300).sqrt(), 0.0)
    return float(curve.mean()) if curve.numel() else 0.0
