"""Directions in Fourier space: even sets of them, bins over them, and meshes. Vectors are (..., 3) in z, y, x order.

A direction and its opposite are one and the same (Friedel), except on the closed mesh of `icosphere`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .transforms import frequency_axes

_PLANES = 16


def fibonacci_directions(count: int, device: torch.device | str | None = None) -> Tensor:
    """Evenly spread unit vectors over the half-sphere z > 0, (count, 3): a golden-angle spiral of equal areas."""
    place = torch.arange(count, device=device, dtype=torch.float64)
    z = (place + 0.5) / count
    azimuth = place * (math.pi * (3.0 - math.sqrt(5.0)))
    across = (1.0 - z * z).sqrt()
    return torch.stack([z, across * azimuth.sin(), across * azimuth.cos()], dim=1).float()


def icosphere(subdivisions: int, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Vertices (v, 3) and triangles (f, 3) on the sphere: an icosahedron refined `subdivisions` times."""
    golden = (1.0 + math.sqrt(5.0)) / 2.0
    pairs = [(one, two * golden) for one in (-1.0, 1.0) for two in (-1.0, 1.0)]
    corners = [(0.0, a, b) for a, b in pairs] + [(a, b, 0.0) for a, b in pairs] + [(b, 0.0, a) for a, b in pairs]
    vertices = torch.tensor(corners, dtype=torch.float64)
    near = torch.cdist(vertices, vertices) < 2.1  # edges have length 2
    triangles = torch.tensor(
        [
            (i, j, k)
            for i in range(12)
            for j in range(i + 1, 12)
            for k in range(j + 1, 12)
            if near[i, j] and near[j, k] and near[i, k]
        ]
    )
    for _ in range(subdivisions):
        edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).sort(dim=1).values
        unique, number = torch.unique(edges, dim=0, return_inverse=True)
        a, b, c = (number + vertices.shape[0]).view(3, -1)
        i, j, k = triangles.unbind(1)
        vertices = torch.cat([vertices, (vertices[unique[:, 0]] + vertices[unique[:, 1]]) / 2.0])
        parts = [(i, a, c), (a, j, b), (c, b, k), (a, b, c)]
        triangles = torch.cat([torch.stack(part, dim=1) for part in parts])
    vertices = torch.nn.functional.normalize(vertices, dim=1)
    return vertices.float().to(device), triangles.to(device)


def bin_index(vectors: Tensor, per_face: int) -> Tensor:
    """Direction bin, int64 (...), of vectors (..., 3): `per_face` squared bins on each of three cube faces.

    A vector and its opposite share a bin. Bins are equal steps of angle along each face. The zero vector has a bin too.
    """
    size = vectors.abs()
    face = size.argmax(dim=-1)
    top = vectors.gather(-1, face.unsqueeze(-1)).squeeze(-1)
    safe = torch.where(top == 0, torch.ones_like(top), top)
    bins = face
    for step in (1, 2):
        side = vectors.gather(-1, ((face + step) % 3).unsqueeze(-1)).squeeze(-1) / safe
        share = 0.5 + side.atan() * (2.0 / math.pi)
        bins = bins * per_face + (share * per_face).long().clamp(0, per_face - 1)
    return bins


def frequency_bins(n: int, per_face: int, device: torch.device | str | None = None) -> Tensor:
    """Direction bin of every half-spectrum voxel, int32 (n, n, n//2+1), DC first."""
    kz, ky, kx = frequency_axes(n, device)
    out = torch.empty((n, n, n // 2 + 1), dtype=torch.int32, device=device)
    for start in range(0, n, _PLANES):  # a few planes at a time: the vectors of a whole box take gigabytes
        planes = out[start : start + _PLANES]
        axes = [axis.expand(planes.shape) for axis in (kz[start : start + _PLANES], ky, kx)]
        planes.copy_(bin_index(torch.stack(axes, dim=-1), per_face))
    return out


def bin_directions(per_face: int, device: torch.device | str | None = None) -> Tensor:
    """Unit vectors (3 * per_face**2, 3) at the middle of each direction bin, in the order of `bin_index`."""
    steps = (torch.arange(per_face, device=device, dtype=torch.float64) + 0.5) / per_face
    tangent = ((steps - 0.5) * (math.pi / 2.0)).tan()
    one, two = torch.meshgrid(tangent, tangent, indexing="ij")
    parts = (torch.ones_like(one), one, two)
    faces = [torch.stack([parts[(axis - face) % 3] for axis in range(3)], dim=-1) for face in range(3)]
    vectors = torch.stack(faces).view(-1, 3)
    return torch.nn.functional.normalize(vectors, dim=1).float()
