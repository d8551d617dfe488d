"""Crops of maps on the device: where to take them, taking a batch of them, and the Fourier weight at their size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..fourier import centred_spectrum


def padded_to(volume: Tensor, side: int) -> Tensor:
    """Pad (..., n, n, n) with the border's mean to at least `side` voxels, the centre voxel n // 2 staying central.

    A map that is large enough comes back as it is.
    """
    n = volume.shape[-1]
    if n >= side:
        return volume
    before = side // 2 - n // 2
    pads = (before, side - n - before) * 3
    level = volume[..., 0, :, :].mean(dim=(-2, -1))[..., None, None, None]
    return functional.pad(volume - level, pads) + level


def possible_centres(mask: Tensor, whole_cube: int = 1) -> Tensor:
    """Voxels (count, 3) int64 on the CPU, z, y, x, where the mask (n, n, n) is above 0; every voxel if it never is.

    With `whole_cube` only those about which a cube of that side lies in the box whole, as spIsoNet takes them.
    """
    n = mask.shape[-1]
    whole = torch.zeros(mask.shape, dtype=torch.bool)
    along = slice(whole_cube // 2, n - whole_cube + whole_cube // 2 + 1)
    whole[along, along, along] = True
    centres = torch.nonzero((mask.cpu() > 0) & whole)
    return centres if len(centres) else torch.nonzero(whole)


def draw_corners(centres: Tensor, n: int, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw corners of cubes about some of the possible centres.

    A cube that would stick out of the box is moved inside, so a particle near the box's edge is sampled too.

    Parameters
    ----------
    centres
        (m, 3), see `possible_centres`.
    n, side
        The box and the side of the cubes, at most n.
    count
        How many; without replacement while there are enough centres, else with.
    generator
        On the CPU, so that the same seed gives the same cubes on every device.

    Returns
    -------
    (count, 3) int64 on the CPU, first voxel of each cube in z, y, x.

    Raises
    ------
    ValueError
        If the cubes are larger than the box.
    """
    if side > n:
        raise ValueError(f"cubes of {side} do not fit into a box of {n}")
    if count > len(centres):
        chosen = torch.randint(len(centres), (count,), generator=generator)
    elif count * 100 > len(centres):
        chosen = torch.randperm(len(centres), generator=generator)[:count]
    else:
        chosen = _distinct(len(centres), count, generator)
    return (centres[chosen] - side // 2).clamp(0, n - side)


def _distinct(upper: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw few of many without replacement, without shuffling them all."""
    chosen: dict[int, None] = {}
    while len(chosen) < count:
        chosen.setdefault(int(torch.randint(upper, (), generator=generator)))
    return torch.tensor(list(chosen))


def take(volume: Tensor, corners: Tensor, side: int) -> Tensor:
    """Cut cubes (b, 1, side, side, side) out of (n, n, n) at (b, 3) corners."""
    starts: list[list[int]] = corners.tolist()
    return torch.stack([volume[z : z + side, y : y + side, x : x + side] for z, y, x in starts]).unsqueeze(1)


def resampled_weight(weight: Tensor, n: int, side: int) -> Tensor:
    """Bring a Fourier weight of a box of n voxels to the Fourier grid of a cube of `side` voxels.

    Frequency k of the cube is frequency k n / side of the box: the weight is averaged over about as many voxels as
    one of the cube holds, and read there trilinearly. DC stays at DC, mirror symmetry stays exact, and values stay
    between the least and the greatest of the input.

    Parameters
    ----------
    weight
        (n, n, n // 2 + 1) real, half spectrum, DC first.
    n, side
        Box of the weight, side of the cube.

    Returns
    -------
    (side, side, side // 2 + 1) float32, DC first.

    Raises
    ------
    ValueError
        If the weight is not the half spectrum of a box of n.
    """
    if tuple(weight.shape) != (n, n, n // 2 + 1):
        raise ValueError(f"weight {tuple(weight.shape)} is not the half spectrum {(n, n, n // 2 + 1)} of a box of {n}")
    if side == n:
        return weight.float()
    dc = weight[0, 0, 0]
    reach = (n // side) // 2
    centred = functional.pad(centred_spectrum(weight.float())[None, None], (reach + 1,) * 6, mode="circular")
    if reach > 0:
        centred = functional.avg_pool3d(centred, 2 * reach + 1, stride=1, padding=reach)
    last = centred.shape[-1] - 1
    positions = torch.fft.fftfreq(side, 1 / n, device=weight.device) + n // 2 + reach + 1
    # The one Nyquist plane of an even cube is read at its positive frequency, as the half spectrum holds it.
    half = torch.arange(side // 2 + 1, device=weight.device) * (n / side) + n // 2 + reach + 1
    z, y, x = torch.meshgrid(positions, positions, half, indexing="ij")
    grid = torch.stack((x, y, z), dim=-1) * (2 / last) - 1
    resampled: Tensor = functional.grid_sample(centred, grid[None], mode="bilinear", align_corners=True)[0, 0]
    resampled[0, 0, 0] = dc
    return resampled
