"""Simulated half-maps whose truth is known: a protein-like phantom seen evenly, or hardly at all from a cone.

For tests and benchmarks of everything that claims to make a map better. The halves are what a refinement program
holds after back-projection: signal plus independent noise, whose variance goes with one over the sampling density.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import (
    THRESHOLD,
    apply_filter,
    expand,
    forward,
    frequency_axes,
    last_shell,
    radial_mean,
    radius,
    shell_of_resolution,
)
from .atoms import atom_density, atom_mask

_RISE_A = 1.5
# Five atoms for each residue of a helix: distance from its axis (A), angle (rad), height (A).
_RESIDUE = ((1.5, -0.5, -0.9), (2.3, 0.0, 0.0), (1.7, 0.5, 1.1), (2.0, 0.4, 2.3), (3.6, -0.2, -0.6))
_TURN_RAD = math.radians(100)
_MASK_EXTEND_A = 6.0
_MASK_EDGE_A = 8.0


@dataclass(frozen=True)
class PhantomPair:
    """Two half-maps and what is known of them.

    Volumes are (n, n, n), Fourier weights (n, n, n // 2 + 1) with DC first. `standard1` and `standard2` are the
    halves times `gain`, the maps that a refinement program would make of them.
    """

    voxel_size_A: float
    resolution_A: float
    cone_deg: float
    truth: Tensor
    mask: Tensor
    half1: Tensor
    half2: Tensor
    density: Tensor
    gain: Tensor

    @property
    def standard1(self) -> Tensor:
        """Half 1, (n, n, n), as the refinement program would regularise it."""
        return apply_filter(self.half1, self.gain)

    @property
    def standard2(self) -> Tensor:
        """Half 2, (n, n, n), as the refinement program would regularise it."""
        return apply_filter(self.half2, self.gain)


def phantom_pair(
    n: int = 48,
    voxel_size_A: float = 2.0,
    resolution_A: float = 5.5,
    *,
    cone_deg: float = 40.0,
    inside: float = 0.02,
    signal: float = 1.0,
    seed: int = 7,
) -> PhantomPair:
    """Simulate a pair of half-maps with a badly sampled double cone about the z axis.

    Parameters
    ----------
    n, voxel_size_A
        Box and voxel size.
    resolution_A
        Where the masked FSC of the fully sampled halves is 0.143.
    cone_deg, inside
        Half-angle of the cone, and the sampling density in it where it is 1 outside; 1 means an isotropic pair.
    signal
        Factor on the structure; 0 gives halves of pure noise (with the gain they would have with signal).
    seed
        Of structure and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    radius_A = 0.34 * n * voxel_size_A
    atoms = _atoms(radius_A, generator)
    mask = atom_mask(atoms, n, voxel_size_A, _MASK_EXTEND_A, _MASK_EDGE_A)
    truth = atom_density(atoms, n, voxel_size_A)
    density = _sampling(n, cone_deg, inside)
    # Windowing keeps this share of the power of white noise.
    share = float(mask.square().mean())
    power = radial_mean(forward(truth * mask).abs().square(), n) / share
    limit = last_shell(n, voxel_size_A, resolution_A)
    noise_power = float(power[limit]) * (1 - THRESHOLD) / THRESHOLD
    ratio = expand((power / noise_power).float(), n) * density
    spread = (noise_power / n**3 / density).sqrt()
    halves = [signal * truth + apply_filter(torch.randn(n, n, n, generator=generator), spread) for _ in range(2)]
    return PhantomPair(
        voxel_size_A, resolution_A, cone_deg, truth, mask, halves[0], halves[1], density, ratio / (1 + ratio)
    )


def cone_regions(pair: PhantomPair, guard_deg: float = 5.0) -> tuple[Tensor, Tensor]:
    """Where a half-spectrum is inside the cone, and where outside, each `guard_deg` from its border.

    Both boolean (n, n, n//2+1), DC first.
    """
    n = pair.truth.shape[-1]
    polar = _polar_angle_deg(n)
    return polar < pair.cone_deg - guard_deg, polar > pair.cone_deg + guard_deg


def truth_score(pair: PhantomPair, volume: Tensor, region: Tensor | None = None, low_A: float = 12.0) -> float:
    """Mean FSC to the truth, inside the mask, over the shells from `low_A` to the pair's resolution.

    Parameters
    ----------
    pair
        What the map was made from.
    volume
        (n, n, n).
    region
        (n, n, n // 2 + 1) boolean; which Fourier voxels count. None means all.
    low_A
        Coarsest resolution that counts.
    """
    n = pair.truth.shape[-1]
    counted = torch.ones(n, n, n // 2 + 1) if region is None else region.float()
    a, b = forward(volume.double() * pair.mask), forward(pair.truth.double() * pair.mask)
    cross = radial_mean((a * b.conj()).real * counted, n)
    norm = (radial_mean(a.abs().square() * counted, n) * radial_mean(b.abs().square() * counted, n)).sqrt()
    curve = cross / norm.clamp(min=torch.finfo(torch.float64).tiny)
    first = math.ceil(shell_of_resolution(n, pair.voxel_size_A, low_A))
    last = last_shell(n, pair.voxel_size_A, pair.resolution_A)
    return float(curve[first : last + 1].mean())


def _atoms(radius_A: float, generator: torch.Generator) -> Tensor:
    """Backbones and side chains of helices (count, 3) in Angstrom, z, y, x, that fill a lobed globule."""
    wanted = 4 / 3 * math.pi * radius_A**3 * 0.35 / 24
    chains: list[Tensor] = []
    while sum(len(chain) for chain in chains) < wanted:
        start, axis, side = torch.randn(3, 3, generator=generator)
        start = start / start.norm() * radius_A * float(torch.rand((), generator=generator)) ** (1 / 3)
        axis = axis / axis.norm()
        across = torch.linalg.cross(axis, side)
        across = across / across.norm()
        third = torch.linalg.cross(axis, across)
        residue = torch.arange(int(torch.randint(8, 24, (), generator=generator)), dtype=torch.float32)
        chain = []
        for distance, angle, height in (
            (1.5, -0.5, -0.9),
            (2.3, 0, 0),
            (1.7, 0.5, 1.1),
            (2.0, 0.4, 2.3),
            (3.6, -0.2, -0.6),
        ):
            phase = (_TURN_RAD * residue + angle)[:, None]
            along = (_RISE_A * residue + height)[:, None]
            chain.append(start + axis * along + distance * (phase.cos() * across + phase.sin() * third))
        atoms = torch.cat(chain)
        direction = atoms / atoms.norm(dim=1, keepdim=True)
        surface = radius_A * (0.8 + 0.2 * torch.sin(2.1 * direction[:, 0] + 1.3) + 0.15 * direction[:, 2])
        chains.append(atoms[atoms.norm(dim=1) < surface])
    together = torch.cat(chains)
    return together - together.mean(dim=0)


def _polar_angle_deg(n: int) -> Tensor:
    kz, _, _ = frequency_axes(n)
    return torch.rad2deg(torch.acos((kz.abs() / radius(n).clamp(min=0.5)).clamp(max=1)))


def _sampling(n: int, cone_deg: float, inside: float, edge_deg: float = 2.0) -> Tensor:
    density = inside + (1 - inside) * torch.sigmoid((_polar_angle_deg(n) - cone_deg) / edge_deg)
    density[0, 0, 0] = 1.0
    return density
