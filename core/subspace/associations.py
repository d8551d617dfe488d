"""How much of latents is explained by what they should not depend on: defocus, view, shift, groups of images."""

from __future__ import annotations

import torch
from torch import Tensor


def explained_by_number(latents: Tensor, values: Tensor) -> Tensor:
    """Share (K,) of the variance of the ranks of latents (N, K) that goes with numbers (N,): Spearman's, squared."""
    ranks = _ranks(torch.cat([latents.double(), values.double()[:, None]], dim=1))
    return _explained(ranks[:, :-1], ranks[:, -1:])


def explained_by_view(latents: Tensor, rotations: Tensor) -> Tensor:
    """Share (K,) of the variance of latents (N, K) that goes with the direction of view, up to second order.

    The direction is the last row of the rotations (N, 3, 3), object to view.
    """
    x, y, z = rotations[:, 2].double().unbind(dim=1)
    columns = torch.stack([x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], dim=1)
    return _explained(latents.double(), columns)


def explained_by_group(latents: Tensor, groups: Tensor) -> Tensor:
    """Share (K,) of the variance of latents (N, K) that lies between groups (N,) of any numbers.

    As many groups explain something by chance, their number is allowed for.
    """
    _, which = torch.unique(groups, return_inverse=True)
    count, number = int(which.max()) + 1, len(groups)
    values = latents.double() - latents.double().mean(dim=0)
    if count < 2 or number <= count:
        return torch.zeros(latents.shape[1])
    sizes = torch.bincount(which, minlength=count).double()
    means = torch.zeros(count, latents.shape[1], dtype=torch.float64, device=values.device)
    means = means.index_add(0, which, values) / sizes[:, None]
    total = values.square().sum(dim=0).clamp_min(1e-30)
    between = (sizes[:, None] * means.square()).sum(dim=0) / total
    return _adjusted(between, count - 1, number)


def _explained(latents: Tensor, columns: Tensor) -> Tensor:
    latents = latents - latents.mean(dim=0)
    columns = columns - columns.mean(dim=0)
    fitted = columns @ torch.linalg.lstsq(columns, latents).solution
    share = fitted.square().sum(dim=0) / latents.square().sum(dim=0).clamp_min(1e-30)
    return _adjusted(share, columns.shape[1], len(latents))


def _adjusted(share: Tensor, freedoms: int, number: int) -> Tensor:
    """Less what so many freedoms explain of noise: adjusted R^2 of Ezekiel 1930."""
    if number <= freedoms + 1:
        return torch.zeros(len(share))
    return (1 - (1 - share) * (number - 1) / (number - freedoms - 1)).clamp_min(0).float().cpu()


def _ranks(columns: Tensor) -> Tensor:
    """Ranks of each column (N, C); equal numbers share the mean of theirs, whatever order they come in."""
    return torch.stack([_ranks_of(column) for column in columns.unbind(dim=1)], dim=1)


def _ranks_of(values: Tensor) -> Tensor:
    _, which, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = (last - (counts.double() + 1) / 2)[which]
    return ranks
