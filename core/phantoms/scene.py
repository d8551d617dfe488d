"""A random pair of half-maps whose truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import apply_filter, expand, forward, radial_mean, radius, shell_index
from ..training import generator_at
from ..volume import atom_density, atom_mask, soft_sphere
from .shapes import random_object
from .views import random_sampling

_LEAST_SAMPLING = 1e-3
REACH = 0.6, 0.9
"""Least and most of Nyquist that data go to."""


@dataclass(frozen=True)
class Scene:
    """Half-maps of a random object.

    truth, half1, half2, mask
        (n, n, n).
    limit_shell
        First shell that no correction should go to.
    regularised
        Whether each half was filtered by its own Wiener filter, so that its noise no longer tells its sampling.
    """

    truth: Tensor
    half1: Tensor
    half2: Tensor
    mask: Tensor
    limit_shell: int
    regularised: bool


def draw_scene(seed: int, number: int, n: int = 64, *, reach: tuple[float, float] = REACH) -> Scene:
    """Draw a scene; it follows from a seed and its number alone.

    Voxels of 1.2 to 4.5 A, a half-map FSC of 0.05 to 0.5 where the data end, noise that is white or coloured, a
    sampling from `random_sampling`, a mask that is tight, wide or a sphere. One scene in five is regularised.

    Parameters
    ----------
    seed, number
        What it follows from.
    n
        Box.
    reach
        Least and most of Nyquist that data go to.
    """
    generator = generator_at(seed, number)
    voxel_A, far, size, edge, agreement, colour, damping, extend = torch.rand(8, generator=generator).tolist()
    voxel_size_A = 1.2 + 3.3 * voxel_A
    radius_A = (0.22 + 0.2 * size) * n * voxel_size_A
    limit = round((reach[0] + (reach[1] - reach[0]) * far) * n / 2)
    atoms, weights = random_object(radius_A, generator)
    bfactor_A2 = (20 + 100 * edge) * (voxel_size_A / 2) ** 2
    truth = atom_density(atoms, n, voxel_size_A, bfactor_A2, weights)
    mask = _mask(atoms, n, voxel_size_A, radius_A, extend, generator)
    sampling = random_sampling(n, generator).clamp(min=_LEAST_SAMPLING)
    noise = _noise_amplitude(truth, mask, limit, 0.05 + 0.45 * agreement, 2 * colour - 1)
    regularised = float(torch.rand((), generator=generator)) < 0.2
    if regularised:
        share = float(mask.square().mean())
        signal = expand((radial_mean(forward(truth * mask).abs().square(), n) / share).float(), n)
        snr = signal * sampling / noise.square().clamp(min=1e-30)
        gain = snr / (1 + snr)
    else:
        # What a refinement program leaves of a direction that is hardly sampled.
        floor = 0.03 * damping if damping > 0.5 else 0.0
        gain = sampling / (sampling + floor)
    halves = []
    for _ in range(2):
        white = forward(torch.randn(n, n, n, generator=generator)) / n**1.5
        spectrum = gain * (forward(truth) + noise / sampling.sqrt() * white)
        halves.append(torch.fft.irfftn(spectrum, s=(n, n, n), dim=(-3, -2, -1)))
    within = (shell_index(n) < limit).float()
    return Scene(apply_filter(truth, within), halves[0], halves[1], mask, limit, regularised)


def _mask(
    atoms: Tensor, n: int, voxel_size_A: float, radius_A: float, extend: float, generator: torch.Generator
) -> Tensor:
    if float(torch.rand((), generator=generator)) < 0.12:
        return soft_sphere(n, min(1.1 * radius_A / voxel_size_A, n / 2 - 4), 4.0)
    edge = 3 + 3 * float(torch.rand((), generator=generator))
    return atom_mask(atoms, n, voxel_size_A, (1 + 4 * extend) * voxel_size_A, edge * voxel_size_A)


def _noise_amplitude(truth: Tensor, mask: Tensor, limit: int, agreement: float, colour: float) -> Tensor:
    """Amplitude of a half-map's noise, (n, n, n // 2 + 1), such that at the limit the masked FSC is `agreement`.

    Its power goes with the radius to the power of `colour`.
    """
    n = truth.shape[-1]
    share = float(mask.square().mean())
    power = radial_mean(forward(truth * mask).abs().square(), n)[limit - 1] / share
    at_limit = float(power) * (1 - agreement) / agreement
    shape = (radius(n).clamp(min=1.0) / limit) ** colour
    return math.sqrt(at_limit) * shape.sqrt()
