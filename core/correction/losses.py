"""The self-supervised losses: the published one, and ours.

Both ask the same of a network f with a Fourier filter F (the weight of the well-measured voxels): f must agree with
the data where F lets them through, and must give back a rotated map R y from what F leaves of it. They get crops
(b, 1, c, c, c) and the filter at the crop's size, give terms by name whose sum is the loss, and know nothing of maps,
optimisers or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import apply_filter
from ..volume import rotate, turn_each, turn_each_back

Network = Callable[[Tensor], Tensor]


def filtered(volumes: Tensor, weight: Tensor) -> Tensor:
    """Multiply (..., c, c, c) in Fourier space by the weight (c, c, c // 2 + 1), on the periodic cube, in float32."""
    return apply_filter(volumes.float(), weight)


def published_loss(
    network: Network,
    first: Tensor,
    second: Tensor | None,
    weight: Tensor,
    turns: Sequence[int] | Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
) -> dict[str, Tensor]:
    """SpIsoNet's loss (Liu et al. 2025, doi 10.1038/s41592-024-02505-1).

    |F(y1) - x1| + alpha |z - R y1| + beta (|F(y1) - x2| + alpha |z - R y2|) with z = f(F(R y1)); all mean absolute.
    The network runs over x1, x2 and the rotated crops in this order, which moving averages of a normalisation see.

    Parameters
    ----------
    network
        f.
    first, second
        Crops x1 and x2 of the two halves; no second half means the independent form (beta = 0).
    weight
        (c, c, c // 2 + 1).
    turns
        One of the 24 rotations for each sample, as `turn_each` takes them.

    Returns
    -------
    The four terms, scalars: `data` and `rotation`, and the same `across` the halves where there are two.
    """
    y1 = network(first)
    y2 = None if second is None or beta == 0 else network(second)
    turned = turn_each(y1, turns)
    z = network(filtered(turned, weight))
    measured = filtered(y1, weight)
    terms = {"data": _absolute(measured - first), "rotation": alpha * _absolute(z - turned)}
    if second is None or y2 is None:
        return terms
    other = turn_each(y2, turns)
    across = {"data across": _absolute(measured - second), "rotation across": alpha * _absolute(z - other)}
    return terms | {name: beta * value for name, value in across.items()}


@dataclass(frozen=True)
class ImprovedTerms:
    """Weights of the terms of our loss.

    alpha
        Of the rotated term.
    anchor
        Share of the rotated term that is compared with measured data instead of with the network's own map.
    margin
        Voxels at each face of the crop where no residual counts: the filter is periodic, the map is not.
    """

    alpha: float = 1.0
    anchor: float = 0.5
    margin: int = 2


def improved_loss(
    network: Network,
    first: Tensor,
    target: Tensor,
    weight: Tensor,
    turns: Sequence[int] | Tensor,
    terms: ImprovedTerms,
    *,
    noise: Tensor | None = None,
    matrices: Tensor | None = None,
    window: Tensor | None = None,
    mask: Tensor | None = None,
    degrading: Tensor | None = None,
    target_filtered: bool = False,
) -> dict[str, Tensor]:
    """Our loss: Fourier-weighted residuals, targets without gradient, rotated data as a target.

    With y = f(x1) and t = R y held fixed, z = f(F t + noise):

    |F(y - x2)| + alpha ((1 - anchor) |z - t| + anchor |F(R^-1 z - x2)|)

    The last part asks that what the network puts where F took away agrees with the other half's measurement: in the
    rotated frame the badly measured directions are well-measured ones.

    Parameters
    ----------
    first, target
        Crops of one half, and of the half it is compared with (the same one in independent mode).
    noise
        What to add to the filtered rotated map so that it looks like a measured one; None adds nothing.
    matrices, window
        With these the rotated map is turned by (b, 3, 3) instead (inside the window), and only compared with itself.
    mask
        Of the crops, for a network of two channels.
    degrading
        (c, c, c // 2 + 1), the filter that makes of a whole map what a network sees of it; None: the weight.
    target_filtered
        Whether the target went through the weight's filter already, before we had it.

    Returns
    -------
    The terms, scalars: `data`, and `rotation` where alpha is not 0.
    """

    def compared(volumes: Tensor) -> Tensor:
        residual = filtered(volumes, weight) - target if target_filtered else filtered(volumes - target, weight)
        return _inner(residual, terms.margin)

    y = network(with_mask(first, mask))
    data = compared(y)
    if terms.alpha == 0:
        return {"data": data}
    held = _turned(y.detach(), turns, matrices) * (1.0 if window is None else window)
    held_mask = None if mask is None else _turned(mask, turns, matrices)
    degraded = filtered(held, weight if degrading is None else degrading)
    z = network(with_mask(degraded if noise is None else degraded + noise, held_mask))
    rotated = _inner(z - held, terms.margin)
    if terms.anchor > 0 and matrices is None:
        rotated = (1 - terms.anchor) * rotated + terms.anchor * compared(turn_each_back(z, turns))
    return {"data": data, "rotation": terms.alpha * rotated}


def practice_loss(network: Network, seen: Tensor, mask: Tensor | None, truth: Tensor, margin: int) -> Tensor:
    """Mean absolute difference to a known truth, a scalar: crops (b, 1, c, c, c) of what is seen, mask and truth."""
    return _inner(network(with_mask(seen, mask)) - truth, margin)


def with_mask(volumes: Tensor, mask: Tensor | None) -> Tensor:
    """Crops (b, 1, c, c, c) with those of the mask as a second channel, where a network is to see it."""
    return volumes if mask is None else torch.cat((volumes, mask), dim=1)


def _turned(volumes: Tensor, turns: Sequence[int] | Tensor, matrices: Tensor | None) -> Tensor:
    return turn_each(volumes, turns) if matrices is None else rotate(volumes, matrices)


def _absolute(residual: Tensor) -> Tensor:
    return residual.abs().mean()


def _inner(residual: Tensor, margin: int) -> Tensor:
    inside = slice(margin, residual.shape[-1] - margin)
    return residual[..., inside, inside, inside].abs().mean()
