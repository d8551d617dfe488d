"""Central slices of a volume's spectrum, and images put back as slices: trilinear, on a padded half grid.

A point X of the object is seen at the first two coordinates of A X, so the Fourier pixel (kx, ky) of an image lies at
the row vector (kx, ky, 0) A of the object's spectrum (projection-slice theorem).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .disc import HalfDisc

_LINEAR, _ZEROS_OUTSIDE = 0, 0
"""Codes of torch for how `grid_sample` interpolates, and what lies outside."""


def rotations_of_angles(angles_deg: Tensor) -> Tensor:
    """RELION's matrices A (N, 3, 3), object to view, of rot, tilt, psi in degrees (N, 3): Rz(psi) Ry(tilt) Rz(rot)."""
    rot, tilt, psi = torch.deg2rad(angles_deg.double()).unbind(dim=1)
    return _about_z(psi) @ _about_y(tilt) @ _about_z(rot)


def slice_points(disc: HalfDisc, rotations: Tensor) -> Tensor:
    """Where the pixels of a disc lie in the object's spectrum: (N, M, 3) in x, y, z, cycles per box, float32.

    Parameters
    ----------
    rotations
        (N, 3, 3), object to view.
    """
    points = disc.points.to(rotations.dtype)
    return (points @ rotations[:, :2, :]).float()


@dataclass(frozen=True)
class FourierGrid:
    """The spectrum of a volume, ready to be sampled between its voxels.

    Attributes
    ----------
    values
        (P, P, P // 2 + 1) complex64, DC first, the origin of phases at the volume's centre.
    box
        Of the volume, in voxels.
    """

    values: Tensor
    box: int

    @classmethod
    def of(cls, volume: Tensor, padding: int = 2) -> Self:
        """Of a real volume (n, n, n) in z, y, x, n even, its centre at voxel n / 2.

        It is divided by the transform of the trilinear kernel first, sinc^2 along each axis, so that what is sampled
        is the volume's own spectrum.
        """
        box = volume.shape[-1]
        side = padding * box
        axis = (torch.arange(box, device=volume.device, dtype=torch.float32) - box // 2) / side
        kernel = torch.sinc(axis) ** 2
        even = volume.float() / (kernel[:, None, None] * kernel[None, :, None] * kernel[None, None, :])
        low = side // 2 - box // 2
        high = side - box - low
        padded = torch.nn.functional.pad(even, (low, high) * 3)
        return cls(torch.fft.rfftn(torch.fft.ifftshift(padded)), box)

    def sample(self, points: Tensor) -> Tensor:
        """Values (...,) complex64 at points (..., 3) in x, y, z, cycles per box; 0 beyond the grid."""
        side = self.values.shape[0]
        scaled = points.reshape(-1, 3) * (side / self.box)
        flipped = scaled[:, 0] < 0
        places, inside = _places(torch.where(flipped[:, None], -scaled, scaled), side)
        found = torch.nn.functional.grid_sample(self._channels, places, align_corners=True).reshape(2, -1) * inside
        imaginary = torch.where(flipped, -found[1], found[1])
        return torch.complex(found[0], imaginary).reshape(points.shape[:-1])

    @functools.cached_property
    def _channels(self) -> Tensor:
        """(1, 2, P, P, P // 2 + 1) real and imaginary parts, the origin at P // 2 of the first two axes."""
        return torch.view_as_real(torch.fft.fftshift(self.values, dim=(0, 1))).permute(3, 0, 1, 2)[None].contiguous()


class SliceSums:
    """Sums of images put back into a spectrum where they lie, each to the eight voxels around its points.

    Parameters
    ----------
    box
        Of the volume, in voxels.
    padding
        Voxels of the grid for one of the volume's spectrum.
    channels
        Real numbers that are summed up at each voxel.
    """

    def __init__(self, box: int, padding: int = 1, channels: int = 3, device: torch.device | str | None = None) -> None:
        self.box = box
        self.side = padding * box
        self.sums = torch.zeros(self.side**2 * (self.side // 2 + 1), channels, device=device)

    def add(self, points: Tensor, values: Tensor, odd: int | None = None) -> None:
        """Add values at points.

        Parameters
        ----------
        points
            (..., 3) in x, y, z, cycles per box.
        values
            (..., channels) float32.
        odd
            The channel that changes its sign from a point to its Friedel mate: an imaginary part. None if none does.
        """
        scaled = points.reshape(-1, 3) * (self.side / self.box)
        flat = values.reshape(-1, values.shape[-1])
        flipped = scaled[:, 0] < 0
        scaled = torch.where(flipped[:, None], -scaled, scaled)
        if odd is not None:
            flat = flat.clone()
            flat[:, odd] = torch.where(flipped, -flat[:, odd], flat[:, odd])
        places, inside = _places(scaled, self.side)
        half, channels = self.side // 2 + 1, flat.shape[1]
        # The adjoint of trilinear sampling, in one pass over the points.
        spread = torch.ops.aten.grid_sampler_3d_backward(
            (flat * inside[:, None]).T.reshape(1, channels, 1, 1, -1).contiguous(),
            self.sums.new_zeros(()).expand(1, channels, self.side, self.side, half),
            places,
            *(_LINEAR, _ZEROS_OUTSIDE, True, [True, False]),
        )[0]
        self.sums += torch.fft.ifftshift(spread[0], dim=(1, 2)).reshape(channels, -1).T

    def grid(self, odd: int | None = None) -> Tensor:
        """The sums as (channels, P, P, P // 2 + 1), DC first, with what Friedel mates add to the plane kx = 0."""
        half = self.side // 2 + 1
        grid = self.sums.T.reshape(-1, self.side, self.side, half).clone()
        plane = grid[:, :, :, 0]
        mates = torch.roll(plane.flip(1, 2), (1, 1), (1, 2))
        if odd is not None:
            mates[odd] = -mates[odd]
        grid[:, :, :, 0] = plane + mates
        return grid


def volume_of_grid(values: Tensor, box: int) -> Tensor:
    """The real volume (box, box, box) of a spectrum (P, P, P // 2 + 1) that was sampled trilinearly.

    It is divided by sinc^2 along each axis, the transform of the kernel that spread each point.
    """
    side = values.shape[0]
    whole: Tensor = torch.fft.fftshift(torch.fft.irfftn(values, s=(side, side, side)))
    low = side // 2 - box // 2
    volume = whole[low : low + box, low : low + box, low : low + box]
    axis = (torch.arange(box, device=values.device, dtype=torch.float32) - box // 2) / side
    kernel = torch.sinc(axis) ** 2
    return volume / (kernel[:, None, None] * kernel[None, :, None] * kernel[None, None, :])


def _places(scaled: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Points (Q, 3), x >= 0, as `grid_sample` takes them on a half grid with its origin at (side // 2, side // 2, 0).

    And which of them lie inside the grid, (Q,) as 0 or 1.
    """
    inside = (scaled.abs() < side // 2 - 1).all(dim=1)
    last = scaled.new_tensor([side // 2, side - 1, side - 1])
    start = scaled.new_tensor([0, side // 2, side // 2])
    places = (scaled + start) * (2.0 / last) - 1.0
    return places.reshape(1, 1, 1, -1, 3), inside.float()


def _about_z(angle: Tensor) -> Tensor:
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, s, zero, -s, c, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)


def _about_y(angle: Tensor) -> Tensor:
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, zero, -s, zero, one, zero, s, zero, c], dim=1).reshape(-1, 3, 3)
