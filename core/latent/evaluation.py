"""Volumes of a network that gives the spectrum point by point: each point once, many latents together.

A network that knows only half of Fourier space is asked for the half kz <= 0; what its first layer makes of a point
does not depend on the latent and is computed once for all of them. Points are taken in pieces that stay in a
processor's cache, or fill a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_CPU_PIECE_BYTES, _GPU_PIECE_BYTES = 2 << 20, 1 << 30
_MOST_ERROR = 1e-3
"""Of the values of a shorter number format, relative to single precision, on a sample of points."""
_SAMPLE = 4096


class PointDecoder(Protocol):
    """A network from a point of Fourier space and a latent to the spectrum there."""

    @property
    def width(self) -> int:
        """Numbers that it holds for a point at its widest layer: how large the pieces are depends on it."""

    def prepared(self, points: Tensor) -> Tensor:
        """What does not depend on the latent, (P, ...) of whole frequencies (P, 3) x, y, z float32, cycles per box."""

    def values(self, prepared: Tensor, z: Tensor) -> Tensor:
        """Spectrum (B, P) at what was prepared, for latents (B, zdim).

        complex64 with kz <= 0, or the real Hartley transform Re - Im, float32, where the network gives that.
        """


@dataclass(frozen=True)
class BallPoints:
    """Voxels of the spectrum of a box that lie within a radius; z, y, x as in the volume, DC at box // 2.

    Attributes
    ----------
    box
        Of the volume.
    points
        (M, 3) whole frequencies x, y, z, from -(box // 2) on.
    is_half
        Whether those of kz > 0 are left out; the plane kz = 0 is whole.
    """

    box: int
    points: Tensor
    is_half: bool

    def __len__(self) -> int:
        """Number of points, M."""
        return self.points.shape[0]

    def places(self, mates: bool = False) -> Tensor:
        """Where the points, or their Friedel mates, lie in a flat (box, box, box) grid with DC first, (M,) int64."""
        x, y, z = ((-self.points if mates else self.points) % self.box).unbind(dim=1)
        return (z * self.box + y) * self.box + x


def ball_points(
    box: int, radius: float | None = None, *, is_half: bool = True, device: torch.device | str | None = None
) -> BallPoints:
    """The points of a box within a radius in cycles per box, half of the box if None; DC is one of them."""
    reach = box / 2 if radius is None else radius
    axis = torch.arange(-(box // 2), (box + 1) // 2)
    z, y, x = torch.meshgrid(axis[axis <= 0] if is_half else axis, axis, axis, indexing="ij")
    kept = x * x + y * y + z * z <= reach * reach
    return BallPoints(box, torch.stack([x[kept], y[kept], z[kept]], dim=1).to(device), is_half)


def volumes_of_latents(decoder: PointDecoder, z: Tensor, ball: BallPoints) -> Tensor:
    """Volumes (B, box, box, box) in z, y, x of latents (B, zdim), 0 in Fourier space outside the ball.

    On a GPU in half precision where that changes the values by no more than 1e-3 of their size, tried on a sample.
    """
    with torch.inference_mode():
        values = spectra_of_latents(decoder, z, ball)
        return torch.stack([volume_of_values(each, ball) for each in values])


def spectra_of_latents(decoder: PointDecoder, z: Tensor, ball: BallPoints) -> Tensor:
    """What the decoder gives at each point of a ball, (B, M), for latents (B, zdim)."""
    with torch.inference_mode():
        halved = z.device.type == "cuda" and _may_be_halved(decoder, z, ball)
        with _numbers(z.device, halved=halved):
            found = None
            for piece, members in _pieces(decoder.width, len(z), len(ball), z.device):
                prepared = decoder.prepared(ball.points[piece].float())
                for latents in members:
                    values = decoder.values(prepared, z[latents])
                    if found is None:
                        found = values.new_empty(len(z), len(ball), dtype=_whole(values.dtype))
                    found[latents, piece] = values.to(found.dtype)
        if found is None:
            raise ValueError("no latents, or no points, to evaluate")
        return found


def volume_of_values(values: Tensor, ball: BallPoints) -> Tensor:
    """The real volume (box, box, box) in z, y, x, its centre at voxel box // 2, of values (M,) at a ball's points.

    Notes
    -----
    Complex values F become Hartley values Re F - Im F, and Re F + Im F at their mates; in the plane kz = 0, which is
    given whole, each point has its own. From Hartley values H(k) the spectrum is
    (H(k) + H(-k)) / 2 + i (H(-k) - H(k)) / 2.
    """
    n = ball.box
    grid = torch.zeros(n**3, device=values.device)
    if values.is_complex():
        # Mates first, so that a point of Nyquist, which is its own mate, keeps its own value.
        grid[ball.places(mates=True)] = values.real + values.imag
        grid[ball.places()] = values.real - values.imag
    else:
        grid[ball.places()] = values
    cube = grid.reshape(n, n, n)
    mates = cube.flip(0, 1, 2).roll((1, 1, 1), (0, 1, 2))
    spectrum = torch.complex(0.5 * (cube + mates), 0.5 * (mates - cube))[:, :, : n // 2 + 1]
    volume: Tensor = torch.fft.fftshift(torch.fft.irfftn(spectrum, s=(n, n, n)))
    return volume


def _pieces(width: int, latents: int, points: int, device: torch.device) -> Iterator[tuple[slice, list[slice]]]:
    """Points to take together, and for each such piece the latents to take together, within the piece's bytes."""
    most = max(1, (_GPU_PIECE_BYTES if device.type == "cuda" else _CPU_PIECE_BYTES) // (4 * width))
    step = min(points, most)
    together = max(1, most // max(step, 1))
    members = [slice(first, min(first + together, latents)) for first in range(0, latents, together)]
    for first in range(0, points, step):
        yield slice(first, min(first + step, points)), members


def _may_be_halved(decoder: PointDecoder, z: Tensor, ball: BallPoints) -> bool:
    """Whether half precision gives the same values on a sample of points, as far as anybody could see."""
    every = max(1, len(ball) // _SAMPLE)
    prepared = decoder.prepared(ball.points[::every].float())
    with _numbers(z.device, halved=False):
        exact = decoder.values(prepared, z[:1])
    with _numbers(z.device, halved=True):
        quick = decoder.values(prepared, z[:1]).to(exact.dtype)
    change = (quick - exact).abs().double().square().sum().sqrt()
    size = exact.abs().double().square().sum().sqrt()
    # Numbers that overflow make the change infinite or NaN, and no comparison with NaN is true.
    return bool(change <= _MOST_ERROR * size)


@contextlib.contextmanager
def _numbers(device: torch.device, *, halved: bool) -> Iterator[None]:
    """Matrix products in half precision, or as they are."""
    with torch.autocast(device.type, dtype=torch.float16, enabled=halved):
        yield


def _whole(dtype: torch.dtype) -> torch.dtype:
    return torch.complex64 if dtype.is_complex else torch.float32
