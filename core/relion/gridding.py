"""Iterative gridding weights of a Fourier-space reconstruction, as RELION computes them.

The weights g make the sampling density even after convolution with a Kaiser-Bessel blob: ten times
c = |FFT(b * IFFT(g W))|, g = g / max(c, 1e-6), on an odd grid of n = 2R + 3 points, where b is the blob's transform.

g W is real and even (W is the density of real images), so only half of Fourier space is stored, as real numbers, and
each three-dimensional transform is a real two-dimensional one plane by plane and a real one line by line: half the
work and less than half the memory of a general real transform of n^3. RELION numbers the points of the odd grid so
that one plane per axis has no exact mirror image; b is split into its even part (used here) and an odd part, whose
transform is imaginary and enters |.| only in second order (see `OddPart`).

References
----------
Pipe & Menon, Magn. Reson. Med. 41 (1999), doi:10.1002/(SICI)1522-2594(199901)41:1<179::AID-MRM25>3.0.CO;2-V
Scheres, "RELION: implementation of a Bayesian approach", J. Struct. Biol. 180 (2012), doi:10.1016/j.jsb.2012.09.006
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from . import real_transforms

ITERATIONS = 10
SMALLEST_CONVOLVED = 1e-6
_BLOB_RADIUS = 3.8
_BLOB_ALPHA = 15.0
_TABLE_SIZE = 10000
_CHUNK_BYTES_CPU = 24 << 20
_CHUNK_BYTES_GPU = 1 << 30


def chunk_length(bytes_each: int, device: torch.device) -> int:
    """How many planes to work on at once: what fits a processor's cache, or a GPU's appetite."""
    return max(1, (_CHUNK_BYTES_CPU if device.type == "cpu" else _CHUNK_BYTES_GPU) // bytes_each)


def chunks(count: int, step: int) -> Iterator[range]:
    """The numbers below `count`, at most `step` at a time."""
    for start in range(0, count, step):
        yield range(start, min(start + step, count))


def blob_by_squared_radius(largest_squared: int, padded_box: float) -> NDArray[np.float64]:
    """Fourier transform of the Kaiser-Bessel blob (order 0, radius 3.8, alpha 15) at every squared radius.

    Parameters
    ----------
    largest_squared
        Largest squared distance from the origin, in grid points.
    padded_box
        Box times padding: distance d is the frequency d / padded_box, in cycles per point.

    Returns
    -------
    ndarray
        (largest_squared + 1,), 1 at the origin, 0 beyond half a cycle per point. Read, as RELION does, from a table
        of 10000 entries without interpolation: that is part of being equal.
    """
    # Loading SciPy's functions takes a seventh of a second; most of what imports this package grids nothing.
    from scipy import special

    frequency = np.arange(_TABLE_SIZE) * (0.5 / _TABLE_SIZE)
    argument = 2 * np.pi * _BLOB_RADIUS * frequency
    sigma = np.sqrt(np.abs(_BLOB_ALPHA**2 - argument**2))
    table = np.where(argument > _BLOB_ALPHA, special.jv(1.5, sigma), special.iv(1.5, sigma)) / sigma**1.5
    distance = np.sqrt(np.arange(largest_squared + 1, dtype=np.float64))
    entry = (distance / padded_box / (0.5 / _TABLE_SIZE)).astype(np.int64)
    found: NDArray[np.float64] = table[np.minimum(entry, _TABLE_SIZE - 1)] / table[0]
    found[entry >= _TABLE_SIZE] = 0.0
    return found


class Blob:
    """The blob's transform b on the odd real-space grid, divided by n^3.

    RELION samples it at i for positions i below h = n//2 and at i - n from there on.

    Attributes
    ----------
    odd
        Odd part of b where it is not 0: the planes z = h (y, x), y = h (z, x) and x = h (z, y), each (n, n) float64;
        a point in two of them is in the first only. The mirror planes h + 1 hold the negative. None if all is 0,
        as at Nyquist, where these planes lie beyond the table's end.
    """

    odd: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None

    def __init__(self, n: int, padded_box: float, device: torch.device) -> None:
        half = n // 2
        position = torch.arange(n, device=device)
        squared = torch.where(position < half, position, position - n) ** 2
        mirrored = squared[(-position) % n]
        values = blob_by_squared_radius(3 * (half + 1) ** 2, padded_box) / n**3
        table = torch.from_numpy(values).to(device)
        self._table, self._squared, self._mirrored = table, squared, mirrored
        self._here = squared[: half + 1, None] + mirrored[None, :]
        self._there = mirrored[: half + 1, None] + squared[None, :]
        self.odd = None
        if values[half**2 :].any():
            plane = table[squared[half] + squared[:, None] + squared[None, :]]
            plane = 0.5 * (plane - table[mirrored[half] + mirrored[:, None] + mirrored[None, :]])
            seam = (position == half) | (position == half + 1)
            second = plane.masked_fill(seam[:, None], 0.0)
            self.odd = (plane, second, second.masked_fill(seam[None, :], 0.0))

    def even(self, z: slice) -> torch.Tensor:
        """(planes, n//2 + 1, n) float64 even part along z, y, -x: x runs backwards, as two real transforms leave it."""
        part = self._table[self._squared[z, None, None] + self._here]
        if self.odd is not None:
            part += self._table[self._mirrored[z, None, None] + self._there]
            part *= 0.5
        return part


class OddPart:
    """The transform of (odd part of the blob) * f, which is imaginary: only its seam planes have to be known.

    With P(a, b) the transform of the plane z = h, that plane and its mirror image give 2 Im(e^(-2 pi i kz h / n) P),
    and likewise for y and x.
    """

    def __init__(self, odd: tuple[torch.Tensor, torch.Tensor, torch.Tensor], kept: int, dtype: torch.dtype) -> None:
        self._odd = tuple(plane.to(dtype) for plane in odd)
        n = len(odd[0])
        self._half = n // 2
        # Exponents are reduced to one turn first, so that float32 phases are as good as they can be.
        turns = torch.arange(n, device=odd[0].device) * self._half % n
        angle = turns.double() * (-2 * math.pi / n)
        self._phase = torch.stack([angle.cos(), angle.sin()]).to(dtype)
        self._z_plane, self._y_plane, self._x_plane = (torch.empty_like(plane) for plane in self._odd)
        self._kept = kept

    def collect(self, lines: torch.Tensor, start: int) -> None:
        """Take the values of f on the seam from lines (planes, n//2 + 1, n): f(z, y <= h, -x), z from `start` on."""
        n, half = len(self._z_plane), self._half
        stop = start + len(lines)
        self._y_plane[start:stop] = _backwards(lines[:, half])
        self._x_plane[start:stop, : half + 1] = lines[..., half + 1]
        # f is even: what lies beyond y = h is found at the mirrored point.
        mirrored = (-torch.arange(start, stop, device=lines.device)) % n
        self._x_plane[mirrored, half + 1 :] = lines[:, 1:, half].flip(1)
        if start <= half < stop:
            self._z_plane[: half + 1] = _backwards(lines[half - start])
        if start <= half + 1 < stop:
            self._z_plane[half + 1 :] = lines[half + 1 - start, 1:].flip(0)

    def transform(self) -> None:
        """Transform the planes that were collected."""
        kept, phase = self._kept, self._phase
        values = (self._z_plane, self._y_plane, self._x_plane)
        z, y, x = (torch.fft.fft2(f * b) for f, b in zip(values, self._odd, strict=True))
        # Im(p P) = Re(p) Im(P) + Im(p) Re(P): for every kx, z and y planes together are an (n, 4) by (4, n) product.
        every = phase.expand(kept, 2, -1)
        z_rows = torch.stack([z.imag, z.real])[:, :, :kept].permute(2, 0, 1)
        y_rows = torch.stack([y.imag, y.real])[:, :, :kept].permute(2, 0, 1)
        self._left = torch.cat([every, y_rows], 1).transpose(1, 2).contiguous()
        self._right = torch.cat([z_rows, every], 1).contiguous()
        self._x_phase = phase[:, :kept].T.contiguous()
        self._x_spectrum = torch.stack([x.imag, x.real]).flatten(1)

    def planes(self, x: slice) -> torch.Tensor:
        """(planes, kz, ky) real: the imaginary part, for some kx."""
        n = len(self._z_plane)
        third = (self._x_phase[x] @ self._x_spectrum).view(-1, n, n)
        return torch.baddbmm(third, self._left[x], self._right[x], beta=2.0, alpha=2.0)


def _backwards(lines: torch.Tensor) -> torch.Tensor:
    """Index i -> -i along the last axis, modulo its length."""
    return torch.cat([lines[..., :1], lines[..., 1:].flip(-1)], -1)


def iterate(product: torch.Tensor, n: int, padded_box: float, smallest: float, iterations: int = ITERATIONS) -> None:
    """Turn the weights W into g W, in place.

    Parameters
    ----------
    product
        (K, n, n) real along kx = 0..K-1, kz, ky in FFTW order: W on entry, g W on return, 0 outside the sphere.
        K is at most n//2 + 1.
    n
        Odd grid size.
    padded_box
        Box times padding.
    smallest
        What the convolved weights are at least taken for, on the scale of W.
    """
    blob = Blob(n, padded_box, product.device)
    even = torch.empty((n, n // 2 + 1, n), dtype=product.dtype, device=product.device)
    for index in range(iterations):
        # The weights span many orders of magnitude before the first division and hardly any after it. In single
        # precision the noise of the strongest would bury the weakest, so the first convolution is done in double.
        _convolve_and_divide(product, blob, even, smallest, first=index == 0)


def _convolve_and_divide(
    product: torch.Tensor, blob: Blob, even: torch.Tensor, smallest: float, *, first: bool
) -> None:
    kept, n = product.shape[:2]
    device = product.device
    dtype = torch.float64 if first else product.dtype
    odd = None if blob.odd is None else OddPart(blob.odd, kept, dtype)
    step_x = chunk_length(dtype.itemsize * n * n, device)
    step_z = chunk_length(dtype.itemsize * n * (n // 2 + 1), device)
    planes = torch.empty((kept, n, n // 2 + 1), dtype=dtype.to_complex(), device=device)
    for start in range(0, kept, step_x):
        x = slice(start, start + step_x)
        planes[x] = real_transforms.rfft2(product[x].to(dtype))
    for start in range(0, n, step_z):
        z = slice(start, start + step_z)
        lines = real_transforms.irfft(planes[:, z].permute(1, 2, 0).contiguous(), n)
        if odd is not None:
            odd.collect(lines, start)
        if first:
            part = blob.even(z)
            even[z] = part
        else:
            part = even[z]
        lines *= part
        planes[:, z] = real_transforms.rfft(lines)[..., :kept].permute(2, 0, 1)
    if odd is not None:
        odd.transform()
    for start in range(0, kept, step_x):
        x = slice(start, start + step_x)
        convolved = real_transforms.irfft2(planes[x], n)
        convolved = convolved.abs_() if odd is None else convolved.hypot_(odd.planes(x))
        product[x] /= convolved.clamp_min_(smallest)
