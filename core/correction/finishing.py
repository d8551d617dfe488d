"""From a network's map to the map that is handed out: put together with what was measured, and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..fourier import angular_whiten, apply_filter, combine, lowpass, resample, within_limit
from ..volume import soft_edge, symmetrise
from .beyond import beyond_limit
from .pair import ReadyPair
from .posterior import fill, plausible

_IN_MASK = 0.01
_REACH_VOXELS, _EDGE_VOXELS = 0.5, 3.0


@dataclass(frozen=True)
class Finish:
    """How a network's map is put together with the data.

    combine
        fill: the network fills what the Wiener filter took away; published: its map as it is.
    apart
        Take the scale of the network's map from its own half, so that neither half knows anything of the other. What
        was levelled keeps the amplitudes that the network gives it: those of a best estimate, which is what it learned.
        A fit by shell would count the noise that the map shares with its half as signal.
    prior_variance
        See `posterior.fill`.
    low_pass
        Low-pass the network's map at the limit.
    keep_beyond
        Take what lies beyond the limit from the half-map itself: as it is with `published`, else filtered as it is at
        the limit, see `beyond_limit`.
    halves_fsc
        FSC of the two half-maps by shell (n // 2 + 1,), which says how their signal falls off there; None where one
        half must not know of the other.
    angular_whiten_from_A
        Even out amplitudes over directions from here to the limit; None leaves them.
    rotations
        Point group (g, 3, 3) that is imposed on the network's map, or None.
    """

    combine: Literal["fill", "published"] = "fill"
    apart: bool = False
    prior_variance: float = 1.0
    low_pass: bool = False
    keep_beyond: bool = False
    halves_fsc: Tensor | None = None
    angular_whiten_from_A: float | None = None
    rotations: Tensor | None = None


def finished(ready: ReadyPair, which_half: int, network_map: Tensor, how: Finish) -> Tensor:
    """Return the corrected map (n, n, n) of half 1 or 2, float32 on the host.

    Parameters
    ----------
    ready
        As the network was trained on.
    which_half
        1 or 2.
    network_map
        (n, n, n), what the network made of that half.
    how
        How it is put together.

    Raises
    ------
    ValueError
        If the result is not finite or not on the scale of what there would be without a network; says what is wrong.
    """
    index = which_half - 1
    half, standard, gain = ready.halves[index], ready.standards[index], ready.gains[index]
    voxel_A, limit_A = ready.voxel_size_A, ready.limit_A
    by_network = how.apart and how.combine == "fill" and ready.sight.levels is not None
    own = network_map.to(half.device)
    result = resample(ready.sight.unlevelled(own, which_half) if by_network else own, ready.box)
    if how.rotations is not None:
        result = symmetrise(result, how.rotations)
    if how.low_pass:
        result = lowpass(result, voxel_A, limit_A)
    reference = standard
    if how.combine == "fill":
        # Within the limit the grey scale is that of the measured voxels, so nothing has to be matched at the joint.
        other = None if how.apart else (ready.standards[1 - index], ready.gains[1 - index])
        variance = how.prior_variance
        result = fill(standard, result, gain, ready.mask, prior_variance=variance, other=other, one_scale=by_network)
        if not how.keep_beyond:
            # There is no map of the network's there to which the narrower prior could draw the measured voxels.
            within = within_limit(ready.box, voxel_A, limit_A, half.device)
            result = standard + apply_filter(result - standard, within)
    elif how.keep_beyond:
        result, reference = combine(result, half, voxel_A, limit_A, ready.mask), half
    if how.angular_whiten_from_A is not None:
        result = angular_whiten(result, voxel_A, how.angular_whiten_from_A, limit_A)
    if (complaint := plausible(result, reference)) is not None:
        raise ValueError(complaint)
    if how.combine == "fill" and how.keep_beyond:
        result = result + beyond_limit(half, gain, how.halves_fsc, voxel_A, limit_A)
    if how.combine == "fill" and ready.mask is not None:
        inside = where_networks_count(ready.mask, network_map.shape[-1])
        result = inside * result + (1 - inside) * (half if how.keep_beyond else standard)
    return result.float().cpu()


def where_networks_count(mask: Tensor, network_box: int) -> Tensor:
    """1 where the mask (n, n, n) is, falling softly to 0 within the few voxels about it that networks compute.

    Further out there is no map of theirs, only what they saw, whose scale was fitted inside the mask: the half-map
    itself belongs there. `network_box` is the box of the networks' maps, whose voxels are the larger ones.
    """
    voxel = mask.shape[-1] / network_box
    return soft_edge(mask > _IN_MASK, _EDGE_VOXELS * voxel, _REACH_VOXELS * voxel)
