"""Runs a trained network over a whole half-map, tile by tile where the mask is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from cryobridge.schemas.correction import CorrectionOptions

from ..training import runner
from ..volume import CUBE_TURNS, SMALLEST_TILE, tiled, turn, turn_back
from .material import check_maps, shown
from .sight import Sight
from .state import CorrectionState

_DILATION_VOXELS = 4
_TILES_AT_ONCE = 4


def predict(
    state: CorrectionState,
    which_half: int,
    volume: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
) -> Tensor:
    """Run the network of a half over its map where the mask, widened by 4 voxels, is; elsewhere the map stays.

    With the published loss it runs over the whole box, as the published program does: its combination brings the map
    to the half-map's deviation in the whole box, which a solvent that kept its noise would spoil.

    Parameters
    ----------
    state
        Trained with the same options.
    which_half
        1 or 2; in independent mode each has its own network.
    volume
        (n, n, n), as given to `train`.
    weight3d, mask, options
        As given to `train`.

    Returns
    -------
    (n, n, n) float32 on the state's device, on the volume's scale. An untrained network that starts as the identity
    gives the volume (with `filter_input`: the volume times the weight).

    Raises
    ------
    ValueError
        If shapes do not agree, or the map is not finite or constant.
    """
    result: Tensor | None = None
    for step in predict_steps(state, which_half, volume, Sight((volume, volume), weight3d, mask), options):
        result = step
    if result is None:
        raise ValueError("the prediction ended without a map")
    return result


def predict_steps(
    state: CorrectionState,
    which_half: int,
    volume: Tensor,
    sight: Sight,
    options: CorrectionOptions,
    held: list[Tensor] | None = None,
) -> Iterator[Tensor | None]:
    """Do as `predict`, drawing None between batches of tiles and the map (n, n, n) at last.

    Parameters
    ----------
    volume
        (n, n, n), one of the sight's starts, or another map that is to be seen as they are.
    sight
        As given to `trainer_of`.
    held
        Filled with the tensors that are kept on the device between two batches, but for the state's own.
    """
    sight = sight.on(state.device)
    check_maps(sight.weight, sight.mask, volume)
    n = volume.shape[-1]
    seen, level, deviation = shown(volume.to(state.device), sight, options)
    tile = max(options.crop_size, SMALLEST_TILE)
    tile = tile if n > tile else 8 * math.ceil(n / 8)
    where = None if sight.mask is None or options.loss == "published" else _dilated(sight.mask > 0)
    channels = seen[None]
    if options.see_mask:
        mask = torch.ones_like(seen) if sight.mask is None else sight.mask
        channels = torch.stack((seen, mask))
    turns = _turns(options.average_turns)
    total = torch.zeros_like(seen)
    with state.learner(which_half).averaged(options) as network:
        run = runner(network, options, state.device)

        # Gradients are off for the network alone, never over a yield: what runs between two draws, or after a
        # prediction that nobody finishes, may be a training.
        def run_tiles(tiles: Tensor) -> Tensor:
            with torch.no_grad():
                result: Tensor = run(tiles.contiguous(memory_format=torch.channels_last_3d))
            return result

        for one in turns:
            turned = turn(channels, one)
            inside = None if where is None else turn(where, one)
            for result in tiled(run_tiles, turned, inside, tile, _TILES_AT_ONCE, held):
                if result is None:
                    yield None
                else:
                    total += turn_back(result, one) / len(turns)
        yield total * deviation + level


def _turns(count: int) -> list[int]:
    """So many of the 24 rotations of the cube, spread over them, the one that changes nothing first."""
    return [index * len(CUBE_TURNS) // count for index in range(count)]


def _dilated(inside: Tensor) -> Tensor:
    reach = 2 * _DILATION_VOXELS + 1
    grown = functional.max_pool3d(inside.float()[None, None], reach, stride=1, padding=_DILATION_VOXELS)
    return grown[0, 0] > 0.5
