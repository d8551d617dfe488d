"""Random cells in a box: membranes, vesicles, filaments, proteins, seen through a random wedge with random noise.

What a network learns before it sees any tomogram. Sizes, in voxels of a reduced volume, are drawn from wide ranges, so
that nothing of one specimen is learned; every scene follows from a seed and its number. Dense is bright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..directional import MOST_SIGNAL
from ..training import generator_at
from .doubled import random_matrices
from .shells import Curve, radius, shell_means
from .wedge import Wedge, wedge_weight

_SCENES = 11


@dataclass(frozen=True)
class TomogramScene:
    """One box with what is known of it.

    Attributes
    ----------
    truth
        (n, n, n), of the scale of `halves`.
    halves
        (2, n, n, n): the truth in the measured region, each with noise of its own.
    agreement
        How far they agree, by shell.
    wedge
        What was measured.
    """

    truth: Tensor
    halves: Tensor
    agreement: Curve
    wedge: Wedge


def draw_scene(seed: int, number: int, side: int = 48) -> TomogramScene:
    """The scene of a number, (side, side, side)."""
    generator = generator_at(seed, _SCENES, number)
    density = _specimen(side, generator)
    shape = (side,) * 3
    distance = radius(shape)
    end = _between(0.42, 0.8, generator)
    spectrum = torch.fft.rfftn(density - density.mean()) * torch.sigmoid((end - distance) / 0.02)
    wedge = _wedge(generator)
    weight = wedge_weight(wedge, shape)
    signal_power = shell_means(spectrum.abs().square(), shape, weight).values
    noise_power = _noise_power(signal_power, generator)
    agreement = Curve((signal_power / (signal_power + noise_power)).clamp(0, MOST_SIGNAL))
    amplitude = Curve(noise_power.sqrt()).at(shape)
    halves = torch.stack([_with_noise(spectrum, amplitude, weight, side, generator) for _ in range(2)])
    gain = Curve(2 * agreement.values / (1 + agreement.values)).at(shape)
    shown = torch.fft.irfftn(torch.fft.rfftn(halves.mean(0)) * gain, s=shape)
    scale = shown.std().clamp(min=1e-6)
    truth = torch.fft.irfftn(spectrum, s=shape)
    return TomogramScene(truth / scale, halves / scale, agreement, wedge)


def _noise_power(signal_power: Tensor, generator: torch.Generator) -> Tensor:
    """Power of one half's noise by shell (32,), coloured a little.

    A tomogram is reduced to where its halves agree by a third, by a whole factor: so that is where it is here, from
    half of the reduced volume's Nyquist frequency on.
    """
    shells = torch.arange(len(signal_power)) + 0.5
    crossing = int(_between(0.45, 1.0, generator) * (len(signal_power) - 1))
    around = signal_power[max(0, crossing - 1) : crossing + 2].mean()
    agreement = _between(0.2, 0.5, generator)
    shape = (shells / shells[crossing]).pow(-_between(-0.7, 0.7, generator))
    return shape * around.clamp(min=1e-12) * (1 - agreement) / agreement


def _with_noise(spectrum: Tensor, amplitude: Tensor, weight: Tensor, side: int, generator: torch.Generator) -> Tensor:
    white = torch.fft.rfftn(torch.randn(side, side, side, generator=generator), norm="ortho")
    found: Tensor = torch.fft.irfftn((spectrum + white * amplitude) * weight, s=(side,) * 3)
    return found


def _wedge(generator: torch.Generator) -> Wedge:
    low, high = (_between(40.0, 68.0, generator) for _ in range(2))
    if _chance(0.6, generator):
        low = high
    return Wedge.of_range(-low, high, edge_deg=0.0 if _chance(0.5, generator) else _between(1.0, 3.0, generator))


def _specimen(side: int, generator: torch.Generator) -> Tensor:
    """Densities (side, side, side) from 0 on: the densest of what lies at a place."""
    axis = torch.arange(side, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    density = torch.zeros(side, side, side)
    profile = _Profile.drawn(generator)
    for _ in range(_below(4, generator)):
        density = torch.maximum(density, _sheet(grid, profile, generator))
    for _ in range(_below(4, generator)):
        density = torch.maximum(density, _vesicle(grid, profile, generator))
    for _ in range(_below(4, generator)):
        density = torch.maximum(density, _filament(grid, generator))
    _add_proteins(density, grid, generator)
    if _chance(0.5, generator):
        # Ice ends somewhere: nothing above and below.
        low, high = _between(0.0, 0.25, generator) * side, _between(0.75, 1.0, generator) * side
        density = density * torch.sigmoid((grid[0] - low) * 2) * torch.sigmoid((high - grid[0]) * 2)
    return density


@dataclass(frozen=True)
class _Profile:
    """Density across a membrane: two leaflets, or one where they are not told apart."""

    distance: float
    sigma: float
    height: float

    @classmethod
    def drawn(cls, generator: torch.Generator) -> _Profile:
        return cls(_between(0.4, 2.2, generator), _between(0.4, 1.1, generator), _between(0.5, 1.3, generator))

    def at(self, depth: Tensor) -> Tensor:
        """At signed distances from the middle."""
        leaflets = [((depth - sign * self.distance) / self.sigma).square() for sign in (1, -1)]
        return self.height * sum(torch.exp(-0.5 * one) for one in leaflets)  # type: ignore[return-value]


def _sheet(grid: Tensor, profile: _Profile, generator: torch.Generator) -> Tensor:
    """A patch of membrane in any direction, often across the beam, gently waved."""
    side = grid.shape[-1]
    frame = random_matrices(1, generator)[0]
    if _chance(0.4, generator):
        tilt = _between(-0.2, 0.2, generator)
        frame = torch.tensor([[math.cos(tilt), 0, math.sin(tilt)], [0, 1, 0], [-math.sin(tilt), 0, math.cos(tilt)]])
    centre = torch.tensor([_between(0.2, 0.8, generator) * side for _ in range(3)])
    across, along, beside = torch.einsum("ij,jzyx->izyx", frame, grid - centre[:, None, None, None])
    height, period = _between(0.0, 2.5, generator), _between(0.6, 2.0, generator) * side
    phase = _between(0.0, 6.3, generator)
    wave = height * torch.sin(2 * math.pi * along / period + phase) * torch.cos(2 * math.pi * beside / period)
    reach = _between(0.15, 0.8, generator) * side
    inside = torch.sigmoid(reach - (along.square() + beside.square()).sqrt())
    return profile.at(across - wave) * inside


def _vesicle(grid: Tensor, profile: _Profile, generator: torch.Generator) -> Tensor:
    side = grid.shape[-1]
    size = _between(0.06, 0.4, generator) * side
    centre = torch.tensor([_between(0.0, 1.0, generator) * side for _ in range(3)])
    stretch = torch.tensor([_between(0.8, 1.25, generator) for _ in range(3)])
    distance = ((grid - centre[:, None, None, None]) * stretch[:, None, None, None]).square().sum(0).sqrt()
    return profile.at(distance - size)


def _filament(grid: Tensor, generator: torch.Generator) -> Tensor:
    """A rod or a tube through the box."""
    side = grid.shape[-1]
    direction = torch.randn(3, generator=generator)
    direction = direction / direction.norm()
    offset = grid - torch.tensor([_between(0.1, 0.9, generator) * side for _ in range(3)])[:, None, None, None]
    along = torch.einsum("j,jzyx->zyx", direction, offset)
    distance = (offset.square().sum(0) - along.square()).clamp(min=0).sqrt()
    hollow = _between(2.0, 5.0, generator) if _chance(0.35, generator) else 0.0
    ends = torch.sigmoid(_between(0.2, 0.8, generator) * side - along.abs())
    body = torch.exp(-0.5 * ((distance - hollow) / _between(0.6, 1.8, generator)).square())
    return _between(0.5, 1.2, generator) * body * ends


def _add_proteins(density: Tensor, grid: Tensor, generator: torch.Generator) -> None:
    """Put copies of a few kinds of particles into the box, in place."""
    side = grid.shape[-1]
    for _ in range(1 + _below(3, generator)):
        sigma, size = _between(0.5, 1.1, generator), _between(0.9, 3.5, generator)
        balls = torch.randn(5 + _below(26, generator), 3, generator=generator) * size
        height = _between(0.6, 1.3, generator)
        reach = math.ceil(2.6 * size + 3 * sigma)
        for _ in range(2 + _below(14, generator)):
            turned = balls @ random_matrices(1, generator)[0].T
            centre = torch.tensor([_between(0.0, 1.0, generator) * side for _ in range(3)])
            box = tuple(slice(max(0, int(c) - reach), min(side, int(c) + reach + 1)) for c in centre.tolist())
            places = turned + centre
            # Gaussians are products over the axes.
            lines = [
                torch.exp(-0.5 * ((torch.arange(b.start, b.stop)[None, :] - places[:, k : k + 1]) / sigma).square())
                for k, b in enumerate(box)
            ]
            mass = torch.einsum("nz,ny,nx->zyx", *lines).clamp(max=1.6) / 1.6
            density[box] = torch.maximum(density[box], height * mass)


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _chance(probability: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < probability
