"""The Fourier pixels of an image, as all work on particles has them: half of a disc, sorted by radius.

A band of low frequencies is then a prefix, so that work on fewer of them is work on the first columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDING = 1e-6
"""Of a squared radius in float32, relative."""


@dataclass(frozen=True)
class HalfDisc:
    """Fourier pixels of real images of one box; the other half of the disc are their conjugates.

    Attributes
    ----------
    box
        Of the images, in pixels.
    points
        (M, 2) whole frequencies kx, ky, in cycles per box, by rising radius. kx > 0, or kx = 0 and ky > 0.
    radii
        (M,) their lengths, float32.
    """

    box: int
    points: Tensor
    radii: Tensor

    def __len__(self) -> int:
        """Number of Fourier pixels, M."""
        return self.points.shape[0]

    def count_within(self, radius: float) -> int:
        """How many of the first pixels are no farther from the origin than this, in cycles per box."""
        return int(torch.searchsorted(self.radii, torch.tensor(radius, device=self.radii.device), right=True))

    def within(self, radius: float) -> HalfDisc:
        """The pixels no farther from the origin than this."""
        count = self.count_within(radius)
        return HalfDisc(self.box, self.points[:count], self.radii[:count])

    def to(self, device: torch.device | str) -> HalfDisc:
        """The same on a device."""
        return HalfDisc(self.box, self.points.to(device), self.radii.to(device))

    @property
    def shells(self) -> Tensor:
        """(M,) the shell of each pixel: its radius rounded to a whole number, int64."""
        return torch.round(self.radii).long()


def half_disc(box: int, radius: float | None = None, device: torch.device | str | None = None) -> HalfDisc:
    """The Fourier pixels of images of a box, without the origin.

    Parameters
    ----------
    box
        Pixels along a side.
    radius
        The farthest from the origin, in cycles per box; those below Nyquist if None.

    Raises
    ------
    ValueError
        If the radius is not below Nyquist, where a pixel and its conjugate are one.
    """
    nyquist = box / 2
    reach = nyquist - 0.5 if radius is None else radius
    if not 1 <= reach < nyquist:
        raise ValueError(f"radius {reach} of a disc must be from 1 to below {nyquist}, half of the box")
    whole = int(reach)
    y, x = torch.meshgrid(torch.arange(-whole, whole + 1), torch.arange(whole + 1), indexing="ij")
    x, y = x.reshape(-1), y.reshape(-1)
    # Squared radii are whole numbers: a radius that was read off a pixel in float32 keeps that pixel.
    kept = ((x > 0) | (y > 0)) & (x * x + y * y <= reach * reach * (1 + _ROUNDING))
    x, y = x[kept], y[kept]
    order = torch.argsort(x * x + y * y, stable=True)
    points = torch.stack([x[order], y[order]], dim=1).to(device)
    return HalfDisc(box, points, points.float().norm(dim=1))
