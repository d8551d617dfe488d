"""FSC and tau2 straight from the sums of two half-sets, as RELION's auto-refinement takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .sums import SimulatedSums, squared_radius

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def half_map_fsc(first: SimulatedSums, second: SimulatedSums) -> Array:
    """(box // 2 + 1,) FSC of two half-sets' averaged sums; 0 beyond the radius in use."""
    a, b = unpadded_average(first), unpadded_average(second)
    shells = _nearest_shell(first.box, 1)
    use = (shells <= first.current_size // 2) & (_friedel(first.box) > 0)
    count = first.box // 2 + 1
    friedel = _friedel(first.box)[use]

    def total(values: Array) -> Array:
        sums: Array = np.bincount(shells[use], values[use] * friedel, count)[:count].astype(np.float64)
        return sums

    cross = total((a * b.conj()).real)
    power = total(np.abs(a) ** 2) * total(np.abs(b) ** 2)
    return np.divide(cross, np.sqrt(power), out=np.zeros(count), where=power > 0)


def unpadded_average(sums: SimulatedSums) -> Complex:
    """(N, N, N // 2 + 1) data over weight, gathered to the nearest voxel of the unpadded grid."""
    size, box, padding = sums.data.shape[0], sums.box, sums.padding
    signed = np.fft.fftfreq(size, 1 / size)
    full = np.floor(signed / padding + 0.5).astype(np.int64) % box
    half = np.floor(np.arange(size // 2 + 1) / padding + 0.5).astype(np.int64)
    where = (full[:, None, None] * box + full[None, :, None]) * (box // 2 + 1) + half[None, None, :]
    cells = box * box * (box // 2 + 1)

    def gather(values: Array) -> Array:
        flat = np.bincount(where.ravel(), values.ravel(), cells)[:cells].astype(np.float64)
        return flat.reshape(box, box, box // 2 + 1)

    weight = gather(sums.weight)
    data = gather(sums.data.real) + 1j * gather(sums.data.imag)
    average: Complex = np.divide(data, weight, out=np.zeros_like(data), where=weight > 0)
    return average


def reference_tau2(sums: SimulatedSums, fsc: Array) -> Array:
    """(box // 2 + 1,) tau2 = SSNR * sigma2 of this half, SSNR = f / (1 - f); 0 beyond the radius in use.

    sigma2 of a shell is the number of its padded voxels over padding^3 times their summed weight.
    """
    count = sums.box // 2 + 1
    r_max = sums.current_size // 2
    inside = squared_radius(sums.data.shape[0]) < (sums.padding * r_max) ** 2
    shells = _nearest_shell(sums.data.shape[0], sums.padding)[inside]
    friedel = np.broadcast_to(_friedel(sums.data.shape[0]), sums.weight.shape)[inside]
    voxels = np.bincount(shells, friedel, count)[:count]
    weight = np.bincount(shells, friedel * sums.weight[inside], count)[:count] * sums.padding**3
    sigma2 = np.divide(voxels, weight, out=np.zeros(count), where=weight > 0)
    f = np.clip(fsc, 0.001, 0.999)
    tau2: Array = np.where(np.arange(count) <= r_max, f / (1 - f) * sigma2, 0.0)
    return tau2


def joined_fsc(fsc: Array) -> Array:
    """What the FSC of two halves means for their sum: sqrt(2 f / (1 + f)).

    References
    ----------
    Rosenthal and Henderson 2003, https://doi.org/10.1016/j.jmb.2003.07.013
    """
    f = np.clip(fsc, 0.001, 0.999)
    return np.sqrt(2 * f / (1 + f))


def resolution(fsc: Array, pixel_size_A: float, threshold: float = 0.143) -> float:
    """Resolution in A of the last shell before the curve first falls below `threshold`."""
    box = 2 * (len(fsc) - 1)
    below = np.flatnonzero(fsc[1:] < threshold)
    shell = max(1, int(below[0])) if below.size else len(fsc) - 1
    return box * pixel_size_A / shell


def _nearest_shell(size: int, padding: int) -> NDArray[np.int64]:
    return np.floor(np.sqrt(squared_radius(size)) / padding + 0.5).astype(np.int64)


def _friedel(size: int) -> Array:
    """(1, 1, size // 2 + 1) how often a half-complex voxel counts, broadcast over z and y on use."""
    counts = np.full(size // 2 + 1, 2.0)
    counts[0] = 1.0
    counts[-1] = 1.0 if size % 2 == 0 else 2.0
    return np.broadcast_to(counts, (size, size, size // 2 + 1))
