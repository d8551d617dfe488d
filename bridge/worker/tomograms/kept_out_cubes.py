"""Whether the blocks that a network learns from have room to keep cubes out of its training."""

from __future__ import annotations

from collections.abc import Sequence

from cryobridge.core.tomogram import TomogramBlock, divided_places
from cryobridge.schemas.wedge import WedgeOptions


def kept_out_or_not(learning: WedgeOptions, blocks: Sequence[TomogramBlock]) -> tuple[WedgeOptions, list[str]]:
    """How a network learns from some blocks, and a sentence where they have no room to keep cubes out."""
    if learning.held_out == 0:
        return learning, []
    turned = learning.free_rotations > 0
    if divided_places(blocks, learning.cube_size, turned=turned).kept:
        return learning, []
    longest = max(max(block.shape) - 2 * block.margin for block in blocks)
    return learning.model_copy(update={"held_out": 0, "patience": None}), [
        f"'patience' has no effect: the tomogram is {longest} reduced voxels long, so no cube of {learning.cube_size} "
        "could be kept out of the training; give more tomograms, or a smaller 'cube_size'"
    ]
