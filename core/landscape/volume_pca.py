"""The space of volumes: their principal components within a mask, and the mask that holds all of them.

Volumes come a few at a time and are kept as float16 inside the mask only, so thousands fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..volume import distance_to
from .components import Numbers, signs

_PEAK, _OF_PEAK = 99.99, 0.5
_LEAST_SHARE = 1e-5
"""Of the variance; what is less is the rounding of float16."""
_TOGETHER = 256
"""Volumes that are unpacked at a time."""


class UnionMask:
    """The voxels that any of many volumes reaches half its peak in; the peak is the 99.99th percentile."""

    def __init__(self) -> None:
        self._union: Tensor | None = None

    def add(self, volumes: Tensor) -> None:
        """Add volumes (B, n, n, n)."""
        for volume in volumes:
            rank = max(1, math.ceil(_PEAK / 100 * volume.numel()))
            peak = volume.reshape(-1).kthvalue(rank).values
            reached = volume >= _OF_PEAK * peak
            self._union = reached if self._union is None else self._union | reached

    def mask(self, voxel_size_A: float, dilate_A: float = 5.0) -> Tensor:
        """The mask (n, n, n), bool, wider by `dilate_A`.

        Raises
        ------
        ValueError
            If no volume was added.
        """
        if self._union is None:
            raise ValueError("a mask of no volumes")
        reach = dilate_A / voxel_size_A
        return distance_to(self._union, math.ceil(reach)) <= reach


@dataclass(frozen=True)
class VolumeSpace:
    """Principal components of volumes in a mask of M voxels.

    Attributes
    ----------
    mask
        (n, n, n) bool.
    mean
        (M,).
    axes
        (K, M), of length 1.
    shares
        (K,) of the variance between the volumes.
    """

    mask: Tensor
    mean: Tensor
    axes: Tensor
    shares: Numbers

    def scores(self, volumes: Tensor) -> Numbers:
        """Coordinates (B, K) of volumes (B, n, n, n)."""
        inside = volumes[:, self.mask].float() - self.mean
        return (inside @ self.axes.T).double().cpu().numpy()

    def component(self, number: int) -> Tensor:
        """A component as a volume (n, n, n), 0 outside the mask."""
        volume = torch.zeros(self.mask.shape, device=self.mask.device)
        volume[self.mask] = self.axes[number]
        return volume


class MaskedVolumes:
    """Volumes inside a mask (n, n, n), bool, as float16 on the CPU, in the order they were added."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self._rows: list[Tensor] = []
        self._scale = 0.0

    def add(self, volumes: Tensor) -> None:
        """Add volumes (B, n, n, n)."""
        inside = volumes[:, self.mask].float().cpu()
        if not self._scale:
            # Values near 1, where float16 is at its best, whatever the volumes' units are.
            self._scale = max(float(inside.abs().max()), 1e-30)
        self._rows += (inside / self._scale).clamp(-6e4, 6e4).half().unbind()

    def __len__(self) -> int:
        """How many."""
        return len(self._rows)

    def chunks(self) -> Iterator[Tensor]:
        """The volumes' values (B, M), float32, on the mask's device."""
        for start in range(0, len(self._rows), _TOGETHER):
            rows = torch.stack(self._rows[start : start + _TOGETHER])
            yield rows.to(self.mask.device).float() * self._scale


def volume_space(volumes: MaskedVolumes, weights: Numbers, most: int) -> VolumeSpace:
    """The first components of N volumes, each counted as often as its weight (N,) says.

    From the eigenvectors of the N x N matrix of their products, since there are fewer volumes than voxels. Of each
    component the largest voxel is positive.
    """
    device = volumes.mask.device
    counted = torch.from_numpy(np.asarray(weights, np.float64) / np.sum(weights)).to(device)
    mean = _weighted_sum(volumes.chunks(), counted)
    products = _products(volumes, mean) * (counted.sqrt()[:, None] * counted.sqrt())
    found, vectors = torch.linalg.eigh(products)
    found, vectors = found.flip(0).clamp(min=0), vectors.flip(1)
    total = max(float(found.sum()), 1e-300)
    kept = min(most, int((found > _LEAST_SHARE * total).sum()))
    # At least one, which is all zeros where the volumes do not differ.
    loadings = vectors[:, : max(kept, 1)] * counted.sqrt()[:, None] * (1.0 if kept else 0.0)
    axes = torch.nn.functional.normalize(_weighted_sum(volumes.chunks(), loadings, mean).float(), dim=1)
    axes = axes * torch.from_numpy(signs(axes.double().cpu().numpy())).to(axes)[:, None]
    shares = (found[:kept] / total).cpu().numpy() if kept else np.zeros(1)
    return VolumeSpace(volumes.mask, mean.float(), axes, shares)


def _weighted_sum(chunks: Iterable[Tensor], weights: Tensor, less: Tensor | None = None) -> Tensor:
    """Sum of rows of chunks (B, M) by weights (N,) or (N, K), float64, less a row of its own if there is one."""
    total, start, rowwise = weights.new_zeros(()), 0, weights.double().movedim(0, -1)
    for rows in chunks:
        values = rows.double() if less is None else rows.double() - less
        total = total + rowwise[..., start : start + len(rows)] @ values
        start += len(rows)
    return total


def _products(volumes: MaskedVolumes, mean: Tensor) -> Tensor:
    """Products (N, N) of the volumes less their mean, float64; two chunks are held at a time."""
    lines = []
    for rows in volumes.chunks():
        centred = (rows - mean).float()
        lines.append(torch.cat([(centred @ (others - mean).float().T).double() for others in volumes.chunks()], dim=1))
    whole = torch.cat(lines)
    return (whole + whole.T) / 2
