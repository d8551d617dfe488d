"""How far latents that were found apart say the same of the same particles."""

from __future__ import annotations

import torch
from torch import Tensor


def shared_variance(first: Tensor, second: Tensor) -> float:
    """Share of the variance of the first latents (N, a) that a linear function of the second (N, b) tells, 0 to 1.

    Latents are known but for a linear map, so they are not compared number by number. Corrected for the number of
    fitted parameters, so that latents that have nothing in common come out at about 0.
    """
    target, known = first.double() - first.double().mean(dim=0), second.double() - second.double().mean(dim=0)
    count, fitted = known.shape
    total = target.square().sum()
    if count <= fitted + 1 or not bool(total > 0):
        return 0.0
    basis, sizes, _ = torch.linalg.svd(known, full_matrices=False)
    kept = basis[:, sizes > 1e-9 * sizes.max().clamp(min=1e-30)]
    left = total - (kept.T @ target).square().sum()
    share = 1 - (left / total) * (count - 1) / (count - kept.shape[1] - 1)
    return float(share.clamp(0, 1))
