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

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

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
    frequency = np.arange(_TABLE_SIZE) * (0.5 / _TABLE_SIZE)
    argument = 2 * np.pi * _BLOB_RADIUS * frequency
    sigma = np.sqrt(np.abs(_BLOB_ALPHA**2 - argument**2))
    table = np.where(argument > _BLOB_ALPHA, special.jv(1.5, sigma), special.iv(1.5, sigma)) / sigma**1.5
    distance = np.sqrt(np.arange(largest_squared + 1, dtype=np.float64))
    entry = (distance / padded_box / (0.5 / _TABLE_SIZE)).astype(np.int64)
    found: NDArray[np.float64] = table[np.minimum(entry, _TABLE_SIZE - 1)] / table[0]
    found[entry >= _TABLE_SIZE] = 0.0
    return found


def even_blob(n: int, padded_box: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Even part of the blob's transform on the odd real-space grid, divided by n^3.

    Returns
    -------
    Tensor
        (n, n//2 + 1, n) along z, y, -x (x runs backwards, which is what two real transforms in a row leave).
    """
    half = n // 2
    position = torch.arange(n, device=device)
    squared = torch.where(position < half, position, position - n) ** 2
    mirrored = squared[(-position) % n]
    table = torch.from_numpy(blob_by_squared_radius(3 * (half + 1) ** 2, padded_box) / n**3).to(device, dtype)
    blob = torch.empty((n, half + 1, n), dtype=dtype, device=device)
    step = chunk_length(8 * (half + 1) * n, device)
    here = squared[: half + 1, None] + mirrored[None, :]
    there = mirrored[: half + 1, None] + squared[None, :]
    for start in range(0, n, step):
        z = slice(start, start + step)
        blob[z] = table[squared[z, None, None] + here]
        blob[z] += table[mirrored[z, None, None] + there]
    blob *= 0.5
    return blob


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
    blob = even_blob(n, padded_box, product.dtype, product.device)
    kept = len(product)
    complex_type = torch.complex128 if product.dtype == torch.float64 else torch.complex64
    planes = torch.empty((kept, n, n // 2 + 1), dtype=complex_type, device=product.device)
    step_x = chunk_length(product.element_size() * n * n, product.device)
    step_z = chunk_length(product.element_size() * n * (n // 2 + 1), product.device)
    for _ in range(iterations):
        for start in range(0, kept, step_x):
            x = slice(start, start + step_x)
            planes[x] = real_transforms.rfft2(product[x])
        for start in range(0, n, step_z):
            z = slice(start, start + step_z)
            lines = real_transforms.irfft(planes[:, z].permute(1, 2, 0).contiguous(), n)
            lines *= blob[z]
            planes[:, z] = real_transforms.rfft(lines)[..., :kept].permute(2, 0, 1)
        for start in range(0, kept, step_x):
            x = slice(start, start + step_x)
            convolved = real_transforms.irfft2(planes[x], n)
            product[x] /= convolved.abs_().clamp_min_(smallest)
