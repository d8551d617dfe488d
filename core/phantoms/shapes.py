"""Random objects made of atoms: helices, strands, sheets, chains, rods, shells and blobs, alone, together, symmetric.

They need not be proteins. What a network should learn from them is what all dense, confined matter has in common,
not what one protein looks like.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..volume import operators, random_matrices

_RISE_A, _TURN_RAD = 1.5, math.radians(100)
# Five atoms for each residue of a helix: distance from its axis (A), angle (rad), height (A).
_RESIDUE = ((1.5, -0.5, -0.9), (2.3, 0.0, 0.0), (1.7, 0.5, 1.1), (2.0, 0.4, 2.3), (3.4, -0.2, -0.6))
_STRAND_A = 3.3
_PACKING_A3 = 68.0  # volume that an atom takes up
_MOST_ATOMS = 60_000
_GROUPS = ("C2", "C3", "C4", "C5", "C6", "C7", "D2", "D3", "D4", "T", "O")


def random_object(radius_A: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw an object that fits a sphere.

    Parameters
    ----------
    radius_A
        Of the sphere about the origin, in Angstrom.
    generator
        On the CPU.

    Returns
    -------
    Atoms (count, 3) in Angstrom, z, y, x, and their weights (count,).
    """
    symmetric = _uniform(generator) < 0.3
    parts = [_part(radius_A * (0.55 if symmetric else 1.0), generator) for _ in range(1 + _below(3, generator))]
    atoms = torch.cat(parts)
    if symmetric:
        atoms = _copies(atoms, radius_A, generator)
    atoms = atoms @ random_matrices(1, generator)[0].T
    atoms = atoms[atoms.norm(dim=1) < radius_A]
    if len(atoms) < 50:
        atoms = torch.randn(200, 3, generator=generator) * radius_A / 4
        atoms = atoms[atoms.norm(dim=1) < radius_A]
    if len(atoms) > _MOST_ATOMS:
        atoms = atoms[torch.randperm(len(atoms), generator=generator)[:_MOST_ATOMS]]
    weights = 6.0 + 2.0 * torch.rand(len(atoms), generator=generator)
    return atoms - atoms.mean(0), weights


def _part(radius_A: float, generator: torch.Generator) -> Tensor:
    makers: tuple[Callable[[float, torch.Generator], Tensor], ...] = (
        _globule,
        _globule,
        _globule,
        _chains,
        _rods,
        _sheet,
        _shell,
        _blobs,
    )
    extent = radius_A * (0.5 + 0.5 * _uniform(generator))
    made = makers[_below(len(makers), generator)](extent, generator)
    return made + _direction(generator) * (radius_A - extent) * _uniform(generator)


def _globule(radius_A: float, generator: torch.Generator) -> Tensor:
    """Helices and strands within a lobed surface."""
    wanted = min(4 / 3 * math.pi * radius_A**3 / _PACKING_A3, _MOST_ATOMS)
    share_of_helices = _uniform(generator)
    lobes = torch.randn(3, 3, generator=generator)
    pieces, found = list[Tensor](), 0
    while found < wanted:
        start = _direction(generator) * radius_A * _uniform(generator) ** (1 / 3)
        make = _helix if _uniform(generator) < share_of_helices else _strand
        piece = start + make(6 + _below(20, generator), generator)
        outward = piece / piece.norm(dim=1, keepdim=True).clamp(min=1e-3)
        surface = radius_A * (0.82 + 0.18 * torch.sin(outward @ lobes).mean(1))
        piece = piece[piece.norm(dim=1) < surface]
        pieces.append(piece)
        found += max(len(piece), 1)
    return torch.cat(pieces)


def _helix(residues: int, generator: torch.Generator) -> Tensor:
    axis, one, two = _frame(generator)
    number = torch.arange(residues, dtype=torch.float32)
    atoms = []
    for distance, angle, height in _RESIDUE:
        phase = (_TURN_RAD * number + angle)[:, None]
        atoms.append(axis * (_RISE_A * number + height)[:, None] + distance * (phase.cos() * one + phase.sin() * two))
    return torch.cat(atoms) - axis * _RISE_A * residues / 2


def _strand(residues: int, generator: torch.Generator) -> Tensor:
    axis, one, two = _frame(generator)
    number = torch.arange(max(4, residues // 2), dtype=torch.float32)
    side = (1 - 2 * (number % 2))[:, None]
    atoms = [
        axis * (_STRAND_A * number + height)[:, None] + side * off * one + out * two
        for height, off, out in ((0.0, 0.5, 0.0), (1.2, 0.9, 0.3), (2.3, 0.3, -0.2), (0.3, 2.4, 0.4))
    ]
    return torch.cat(atoms) - axis * _STRAND_A * len(number) / 2


def _chains(radius_A: float, generator: torch.Generator) -> Tensor:
    """Stiff random walks that stay within a sphere, thick or thin."""
    chains = []
    for _ in range(1 + _below(5, generator)):
        count = 300 + _below(2500, generator)
        stiffness = 0.7 + 0.28 * _uniform(generator)
        kicks = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1) * (1 - stiffness) * 2
        place, heading = _direction(generator) * radius_A * 0.5, _direction(generator)
        walk = torch.empty(count, 3)
        for step in range(count):
            heading = heading * stiffness + kicks[step]
            if float(place.norm()) > 0.9 * radius_A:
                heading = heading - 0.5 * place / place.norm()
            heading = heading / heading.norm()
            place = place + 1.4 * heading
            walk[step] = place
        thickness = 0.5 + 3.0 * _uniform(generator)
        chains.append(walk.repeat(2, 1) + thickness * torch.randn(2 * count, 3, generator=generator))
    return torch.cat(chains)


def _rods(radius_A: float, generator: torch.Generator) -> Tensor:
    """A bundle of parallel helices."""
    axis, one, two = _frame(generator)
    spacing = 8.5 + 4 * _uniform(generator)
    rings = min(int(0.7 * radius_A / spacing), 4)
    residues = int(1.4 * radius_A / _RISE_A)
    number = torch.arange(residues, dtype=torch.float32)
    atoms = []
    for row in range(-rings, rings + 1):
        for column in range(-rings, rings + 1):
            if _uniform(generator) < 0.3:
                continue
            centre = one * spacing * row + two * spacing * column - axis * (_RISE_A * residues / 2)
            turn = 6.3 * _uniform(generator)
            for distance, angle, height in _RESIDUE:
                phase = (_TURN_RAD * number + angle + turn)[:, None]
                atoms.append(
                    centre
                    + axis * (_RISE_A * number + height)[:, None]
                    + distance * (phase.cos() * one + phase.sin() * two)
                )
    return torch.cat(atoms) if atoms else _blobs(radius_A, generator)


def _sheet(radius_A: float, generator: torch.Generator) -> Tensor:
    """A flat or bent slab of strands or of two dense faces, as sheets and membranes are."""
    axis, one, two = _frame(generator)
    count = min(int(6 * radius_A**2 / 12), _MOST_ATOMS // 2)
    u, v, w = (torch.rand(3, count, generator=generator) * 2 - 1) * radius_A * 0.9
    w = w * (2 + 5 * _uniform(generator)) / radius_A
    if _uniform(generator) < 0.5:
        w = w + (6 + 12 * _uniform(generator)) * torch.sign(torch.rand(count, generator=generator) - 0.5)
    else:
        u = (u / 4.8).round() * 4.8
    bend = (_uniform(generator) - 0.5) / radius_A
    w = w + bend * (u.square() + v.square())
    slab: Tensor = u[:, None] * one + v[:, None] * two + w[:, None] * axis
    return slab


def _shell(radius_A: float, generator: torch.Generator) -> Tensor:
    """An ellipsoid's surface, with holes."""
    count = min(int(20 * radius_A**2 / 12), _MOST_ATOMS // 2)
    outward = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    holes = torch.sin(outward @ torch.randn(3, 4, generator=generator) * (2 + 5 * _uniform(generator))).sum(1)
    axes = 0.6 + 0.4 * torch.rand(3, generator=generator)
    depth = (6 + 20 * _uniform(generator)) * torch.rand(count, 1, generator=generator)
    surface: Tensor = (outward * (radius_A * axes - depth))[holes > -1.2]
    return surface


def _blobs(radius_A: float, generator: torch.Generator) -> Tensor:
    """Round clouds of atoms."""
    clouds = []
    for _ in range(3 + _below(25, generator)):
        centre = _direction(generator) * radius_A * 0.8 * _uniform(generator) ** (1 / 3)
        size = 2 + 0.18 * radius_A * _uniform(generator)
        clouds.append(centre + size * torch.randn(40 + _below(300, generator), 3, generator=generator))
    return torch.cat(clouds)


def _copies(atoms: Tensor, radius_A: float, generator: torch.Generator) -> Tensor:
    rotations = operators(_GROUPS[_below(len(_GROUPS), generator)])
    moved = atoms + _direction(generator) * radius_A * (0.3 + 0.3 * _uniform(generator))
    kept = max(1, _MOST_ATOMS // len(rotations))
    if len(moved) > kept:
        moved = moved[torch.randperm(len(moved), generator=generator)[:kept]]
    # Operators are in x, y, z, atoms in z, y, x.
    return torch.cat([(moved.flip(1) @ rotation.float().T).flip(1) for rotation in rotations])


def _frame(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Three unit vectors at right angles."""
    matrix = random_matrices(1, generator)[0]
    return matrix[0], matrix[1], matrix[2]


def _direction(generator: torch.Generator) -> Tensor:
    vector = torch.randn(3, generator=generator)
    unit: Tensor = vector / vector.norm()
    return unit


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
