"""Poses that are learned beside the network, in a space where every step leads to a rotation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...particles import HalfDisc
from .learned_rows import LearnedRows

_EMBEDDED = {"s2s2": 6, "quat": 4}


class PoseTable(nn.Module):
    """Rotations and shifts of N images.

    Parameters
    ----------
    rotations
        (N, 3, 3) object to view, to begin with; shifts begin at 0, as the images are recentred.
    embedding
        s2s2: two vectors, made orthonormal (Zhou et al. 2019, CVPR, 5745); quat: quaternions, made unit.
    rate
        Learning rate of both.
    """

    def __init__(self, rotations: Tensor, embedding: str, rate: float) -> None:
        super().__init__()
        self.embedding = embedding
        numbers = s2s2_of(rotations) if embedding == "s2s2" else quaternions_of(rotations)
        shifts = torch.zeros(len(numbers), 2, device=numbers.device)
        self.rows = LearnedRows(torch.cat([numbers.float(), shifts], dim=1), rate)

    def forward(self, members: Tensor, learns: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (..., 3, 3) and shifts (..., 2), in pixels of the model's box, of members (...,)."""
        rows = self.rows(members, learns)
        width = _EMBEDDED[self.embedding]
        make = rotations_of_s2s2 if self.embedding == "s2s2" else rotations_of_quaternions
        return make(rows[..., :width]), rows[..., width:]

    @torch.no_grad()
    def all(self) -> tuple[Tensor, Tensor]:
        """Rotations (N, 3, 3) and shifts (N, 2) as they are now, on the CPU."""
        was = self.training
        self.eval()
        everyone = torch.arange(len(self.rows.values), device=self.rows.values.device)
        rotations, shifts = self(everyone, torch.zeros_like(everyone, dtype=torch.bool))
        self.train(was)
        return rotations.cpu(), shifts.cpu()


def s2s2_of(rotations: Tensor) -> Tensor:
    """The first two rows (N, 6) of rotations (N, 3, 3)."""
    return rotations[..., :2, :].flatten(-2)


def rotations_of_s2s2(numbers: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of two vectors (..., 6) that need not be orthogonal, by Gram and Schmidt."""
    one = nn.functional.normalize(numbers[..., :3], dim=-1)
    rest = numbers[..., 3:] - (one * numbers[..., 3:]).sum(dim=-1, keepdim=True) * one
    two = nn.functional.normalize(rest, dim=-1)
    return torch.stack([one, two, torch.linalg.cross(one, two)], dim=-2)


def quaternions_of(rotations: Tensor) -> Tensor:
    """Unit quaternions (N, 4), w first, of rotations (N, 3, 3).

    Source: Bar-Itzhack 2000, J Guid Control Dyn 23, 1085: the eigenvector of the largest eigenvalue of a 4 x 4 matrix.
    """
    a = rotations.double()
    diagonal = a.diagonal(dim1=-2, dim2=-1)
    skew = torch.stack([a[:, 2, 1] - a[:, 1, 2], a[:, 0, 2] - a[:, 2, 0], a[:, 1, 0] - a[:, 0, 1]], dim=1)
    matrix = torch.zeros(len(a), 4, 4, dtype=torch.float64, device=a.device)
    trace = diagonal.sum(dim=1)
    matrix[:, 0, 0] = trace
    matrix[:, 0, 1:] = matrix[:, 1:, 0] = skew
    matrix[:, 1:, 1:] = a + a.mT - torch.eye(3, dtype=torch.float64, device=a.device) * trace[:, None, None]
    found: Tensor = torch.linalg.eigh(matrix).eigenvectors[..., -1]
    return found


def rotations_of_quaternions(numbers: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of quaternions (..., 4), w first, of any length but 0."""
    w, x, y, z = nn.functional.normalize(numbers, dim=-1).unbind(dim=-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def moved(spectra: Tensor, disc: HalfDisc, shifts_px: Tensor) -> Tensor:
    """Spectra (..., M, 2), real and imaginary parts, of images moved by so many pixels (..., 2) in x, y.

    As `particles.shifted`, with a gradient by the shifts.
    """
    turns = (shifts_px @ disc.points.to(shifts_px.dtype).T) * (-2.0 * torch.pi / disc.box)
    cosine, sine = torch.cos(turns), torch.sin(turns)
    real, imaginary = spectra[..., 0], spectra[..., 1]
    return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=-1)
