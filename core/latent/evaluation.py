"""Volumes of a network that gives the spectrum point by point: each point once, many latents together.

What the first layer makes of a point does not depend on the latent and is computed once for all of them. Points are
taken in pieces that stay in a processor's cache, or fill a GPU.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

import torch
from torch import Tensor

from ..subspace import whole

_CPU_PIECE_BYTES, _GPU_PIECE_BYTES = 1 << 19, 1 << 30
"""Measured: on a CPU layers of 256 are fastest with half a MiB, layers of 1024 with as many points as they are wide."""
_MOST_ERROR = 1e-3
"""Of the values of a shorter number format, relative to single precision, on a sample of points."""
_SAMPLE = 4096


class PointDecoder(Protocol):
    """A network from a point of Fourier space and a latent to the spectrum there."""

    @property
    def width(self) -> int:
        """Numbers that it holds for a point at its widest layer: how large the pieces are depends on it."""

    def prepared(self, points: Tensor) -> Tensor:
        """What does not depend on the latent, for points (P, 3) in x, y, z, cycles per box, float32: (P, ...)."""

    def values(self, prepared: Tensor, z: Tensor) -> Tensor:
        """Spectrum (B, P) complex64 at what was prepared, for latents (B, zdim)."""


def half_spectrum_points(box: int, device: torch.device, *, corners: bool = False) -> Tensor:
    """Whole frequencies (P, 3) in x, y, z of which all others of a real volume's spectrum are mates, and the origin.

    Those with z < 0, or z = 0 and y < 0, or z = y = 0 and x <= 0; without corners, none farther than Nyquist, where
    rounding decides of those at Nyquist as it does for cryoDRGN.
    """
    half = box // 2
    axis = torch.arange(-half, half + 1, device=device)
    z, y, x = torch.meshgrid(axis[: half + 1], axis, axis, indexing="ij")
    kept = (z < 0) | (y < 0) | ((y == 0) & (x <= 0))
    if not corners:
        squares = (axis.double() / box).float() ** 2
        squared = squares[None, None] + squares[None, :, None] + squares[: half + 1, None, None]
        kept &= squared <= 0.25
    return torch.stack([x[kept], y[kept], z[kept]], dim=1)


def spectra_in_steps(decoder: PointDecoder, z: Tensor, points: Tensor) -> Generator[None, None, Tensor]:
    """What a decoder gives at whole frequencies (P, 3), (B, P) complex64, for latents (B, zdim), piece by piece.

    On a GPU in half precision where that changes the values by no more than 1e-3 of their size, tried on a sample.
    """
    found = torch.empty(len(z), len(points), dtype=torch.complex64, device=z.device)
    if not found.numel():
        return found
    halved = z.device.type == "cuda" and _may_be_halved(decoder, z, points)
    for piece, members in _pieces(decoder.width, len(z), len(points), z.device):
        _evaluate(decoder, z, points[piece], members, found[:, piece], halved=halved)
        yield
    return found


def spectra_of_latents(decoder: PointDecoder, z: Tensor, points: Tensor) -> Tensor:
    """The same at once: (B, P) complex64 at points (P, 3) for latents (B, zdim)."""
    return whole(spectra_in_steps(decoder, z, points))


def volumes_of_spectra(spectra: Tensor, points: Tensor, box: int) -> Tensor:
    """Real volumes (B, box, box, box) in z, y, x, their centre at voxel box // 2, of spectra (B, P) at points (P, 3).

    The box is even, and the points are as `half_spectrum_points` has them. 0 at frequencies that no point has.

    Notes
    -----
    The value F at a point becomes Re F - Im F there and Re F + Im F at its mate: the Hartley transform H. What lies at
    +Nyquist has no voxel and is left out. The spectrum of H is (H(k) + H(-k)) / 2 + i (H(-k) - H(k)) / 2.
    """
    here, mates = _places(points, box), _places(-points, box)
    volumes = torch.empty(len(spectra), box, box, box, device=spectra.device)
    # One by one: a transform's copies are then of one volume.
    for volume, values in zip(volumes, spectra, strict=True):
        grid = torch.zeros(box**3 + 1, device=values.device)
        grid[mates] = values.real + values.imag
        grid[here] = values.real - values.imag
        cube = grid[:-1].reshape(box, box, box)
        turned = cube.flip(0, 1, 2).roll((1, 1, 1), (0, 1, 2))
        spectrum = torch.complex(0.5 * (cube + turned), 0.5 * (turned - cube))[:, :, : box // 2 + 1]
        volume.copy_(torch.fft.fftshift(torch.fft.irfftn(spectrum, s=(box, box, box))))
    return volumes


def _places(points: Tensor, box: int) -> Tensor:
    """Where points (P, 3) lie in a flat grid with DC first, (P,) int64; its end for those that have no voxel."""
    x, y, z = (points % box).unbind(dim=1)
    inside = (points < box // 2).all(dim=1)
    return torch.where(inside, (z * box + y) * box + x, box**3)


def _pieces(width: int, latents: int, points: int, device: torch.device) -> Iterator[tuple[slice, list[slice]]]:
    """Points to take together, and for each such piece the latents to take together, within the piece's bytes."""
    on_cpu = max(width, _CPU_PIECE_BYTES // (4 * width))
    most = max(1, _GPU_PIECE_BYTES // (4 * width)) if device.type == "cuda" else on_cpu
    step = min(points, most)
    together = max(1, most // step)
    members = [slice(first, min(first + together, latents)) for first in range(0, latents, together)]
    for first in range(0, points, step):
        yield slice(first, min(first + step, points)), members


@torch.no_grad()
def _evaluate(
    decoder: PointDecoder, z: Tensor, points: Tensor, members: list[slice], into: Tensor, *, halved: bool
) -> None:
    """Fill a piece (B, Q) with what latents (B, zdim) have at points (Q, 3)."""
    with _numbers(z.device, halved=halved):
        prepared = decoder.prepared(points.float())
        for latents in members:
            into[latents] = decoder.values(prepared, z[latents])


@torch.no_grad()
def _may_be_halved(decoder: PointDecoder, z: Tensor, points: Tensor) -> bool:
    """Whether half precision gives the same values on a sample of points, as far as anybody could see."""
    prepared = decoder.prepared(points[:: max(1, len(points) // _SAMPLE)].float())
    with _numbers(z.device, halved=False):
        exact = decoder.values(prepared, z[:1])
    with _numbers(z.device, halved=True):
        change = decoder.values(prepared, z[:1]) - exact
    # Numbers that overflow make the change infinite or NaN, and no comparison with NaN is true.
    return bool(change.abs().double().norm() <= _MOST_ERROR * exact.abs().double().norm())


def _numbers(device: torch.device, *, halved: bool) -> torch.autocast:
    """Matrix products in half precision, or as they are."""
    return torch.autocast(device.type, dtype=torch.float16, enabled=halved)
